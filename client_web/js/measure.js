// @ts-check
/** Arithmetic on statistics: rates between two getStats reports, and the delay that can be known from them. */

/**
 * @typedef {object} Reading one look at the connection; counters as WebRTC's statistics define them
 * @property {number} at ms
 * @property {number} bytes received
 * @property {number} packets received
 * @property {number} lost
 * @property {number} decoded frames
 * @property {number} decodeS seconds spent decoding
 * @property {number} bufferS seconds that frames spent in the jitter buffer
 * @property {number} buffered frames that left it
 * @property {number} encoded frames of the camera
 * @property {number} encodeS seconds spent encoding them
 * @property {number | null} roundTripMs
 */

/**
 * @param {Iterable<Record<string, any>>} report the values of an RTCStatsReport
 * @param {number} at ms
 * @returns {Reading}
 */
export function read(report, at) {
  /** @type {Reading} */
  const reading = { at, bytes: 0, packets: 0, lost: 0, decoded: 0, decodeS: 0, bufferS: 0, buffered: 0, encoded: 0, encodeS: 0, roundTripMs: null };
  for (const entry of report) {
    if (entry.type === "inbound-rtp" && entry.kind === "video") {
      reading.bytes += entry.bytesReceived ?? 0;
      reading.packets += entry.packetsReceived ?? 0;
      reading.lost += entry.packetsLost ?? 0;
      reading.decoded += entry.framesDecoded ?? 0;
      reading.decodeS += entry.totalDecodeTime ?? 0;
      reading.bufferS += entry.jitterBufferDelay ?? 0;
      reading.buffered += entry.jitterBufferEmittedCount ?? 0;
    } else if (entry.type === "outbound-rtp" && entry.kind === "video") {
      reading.encoded += entry.framesEncoded ?? 0;
      reading.encodeS += entry.totalEncodeTime ?? 0;
    } else if (entry.type === "candidate-pair" && entry.nominated && entry.currentRoundTripTime !== undefined) {
      reading.roundTripMs = entry.currentRoundTripTime * 1000;
    }
  }
  return reading;
}

/**
 * What happened between two readings of one connection.
 * @param {Reading} before
 * @param {Reading} now
 */
export function between(before, now) {
  const seconds = Math.max((now.at - before.at) / 1000, 1e-3);
  const packets = Math.max(now.packets - before.packets, 0);
  const lost = Math.max(now.lost - before.lost, 0);
  return {
    fps: Math.max(now.decoded - before.decoded, 0) / seconds,
    kbps: (Math.max(now.bytes - before.bytes, 0) * 8) / 1000 / seconds,
    lossPercent: packets + lost > 0 ? (100 * lost) / (packets + lost) : 0,
    bufferMs: mean(now.bufferS - before.bufferS, now.buffered - before.buffered),
    decodeMs: mean(now.decodeS - before.decodeS, now.decoded - before.decoded),
    encodeMs: mean(now.encodeS - before.encodeS, now.encoded - before.encoded),
    roundTripMs: now.roundTripMs ?? 0,
  };
}

/** Seconds over a count as milliseconds each; 0 where nothing was counted. @param {number} seconds @param {number} count */
function mean(seconds, count) {
  return count > 0 && seconds > 0 ? (seconds / count) * 1000 : 0;
}

/**
 * The nearest-rank percentile; null without values.
 * @param {readonly number[]} values
 * @param {number} percent in (0, 100]
 */
export function percentile(values, percent) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const rank = Math.ceil((percent / 100) * sorted.length) - 1;
  return sorted[Math.min(Math.max(rank, 0), sorted.length - 1)];
}

/** The parts of the delay, in the order a picture meets them. */
export const PARTS = /** @type {const} */ ([
  ["encode", "Coding your camera’s picture"],
  ["network", "Network, there and back"],
  ["server", "Server and model"],
  ["buffer", "Smoothing out the network"],
  ["decode", "Decoding the avatar’s picture"],
]);

/**
 * The delay from camera frame to decoded avatar frame, as far as a page can know it. Exposure, display and the
 * server's own coding (unless its `stats` count it) are outside of it.
 * @param {ReturnType<typeof between>} link
 * @param {{p50: number, p95: number}} age the server's, ms: from a camera frame's arrival to the avatar's hand-over
 */
export function delayOf(link, age) {
  const parts = {
    encode: link.encodeMs,
    network: link.roundTripMs,
    server: age.p50,
    buffer: link.bufferMs,
    decode: link.decodeMs,
  };
  const outside = parts.encode + parts.network + parts.buffer + parts.decode;
  return { parts, p50: outside + age.p50, p95: outside + age.p95, outside };
}

/** The last values of something, oldest first, never more than `length`. */
export class History {
  /** @param {number} length */
  constructor(length) {
    this.length = length;
    /** @type {number[]} */
    this.values = [];
  }

  /** @param {number} value */
  add(value) {
    this.values.push(value);
    if (this.values.length > this.length) this.values.shift();
  }

  clear() {
    this.values.length = 0;
  }
}
