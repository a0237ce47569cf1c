// @ts-check
/** The WebRTC side: one RTCPeerConnection, from its offer to its last picture. */

import { read } from "./measure.js";

/** Long enough for a TURN server far away, and for none nearly no wait. */
const GATHER_MS = { alone: 300, servers: 1000 };

export const supported = () => typeof RTCPeerConnection === "function";

export class Media {
  /**
   * @param {RTCIceServer[]} iceServers
   * @param {MediaStream} camera stays the caller's: `close` does not stop it
   * @param {{track: (track: MediaStreamTrack) => void, down: () => void}} events `down`: the connection failed
   */
  constructor(iceServers, camera, events) {
    this.peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.gatherMs = iceServers.length ? GATHER_MS.servers : GATHER_MS.alone;
    this.closed = false;
    const [track] = camera.getVideoTracks();
    const transceiver = this.peer.addTransceiver(track, { direction: "sendrecv", streams: [camera] });
    preferVP8(transceiver);
    wantNoBuffer(transceiver.receiver);
    this.sender = transceiver.sender;
    this.peer.addEventListener("track", (event) => events.track(event.track));
    this.peer.addEventListener("connectionstatechange", () => {
      if (!this.closed && this.peer.connectionState === "failed") events.down();
    });
  }

  /** There is a way to the server, and packets may come. */
  get connected() {
    return this.peer.connectionState === "connected";
  }

  /** The offer, with every candidate in it: the server takes no trickle. */
  async offer() {
    await this.peer.setLocalDescription(await this.peer.createOffer());
    await gathered(this.peer, this.gatherMs);
    return this.peer.localDescription?.sdp ?? "";
  }

  /** @param {string} sdp */
  async accept(sdp) {
    if (this.closed || this.peer.signalingState !== "have-local-offer") return;
    await this.peer.setRemoteDescription({ type: "answer", sdp });
    await keepFrameRate(this.sender);
  }

  /** Another camera, without a new connection. @param {MediaStreamTrack} track */
  async replaceCamera(track) {
    await this.sender.replaceTrack(track);
  }

  async reading() {
    return read((await this.peer.getStats()).values(), performance.now());
  }

  close() {
    this.closed = true;
    this.peer.close();
  }
}

/** @param {RTCRtpTransceiver} transceiver */
function preferVP8(transceiver) {
  const codecs = RTCRtpReceiver.getCapabilities?.("video")?.codecs ?? [];
  const wanted = codecs.filter((codec) => /\/(VP8|rtx)$/i.test(codec.mimeType));
  if (wanted.some((codec) => /VP8$/i.test(codec.mimeType))) transceiver.setCodecPreferences?.(wanted);
}

/** A live picture is shown when it comes; waiting for smoothness would be felt as delay. @param {any} receiver */
function wantNoBuffer(receiver) {
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
  else if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
}

/** On a poor link the face may get coarse, but has to move. @param {RTCRtpSender} sender */
async function keepFrameRate(sender) {
  try {
    const parameters = /** @type {any} */ (sender.getParameters());
    parameters.degradationPreference = "maintain-framerate";
    await sender.setParameters(parameters);
  } catch {
    // Only a wish: browsers that do not know it decide for themselves.
  }
}

/** @param {RTCPeerConnection} peer @param {number} mostMs */
function gathered(peer, mostMs) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, mostMs);
    peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve(undefined);
    });
  });
}
