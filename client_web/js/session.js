// @ts-check
/**
 * The session: keeps a line to the server and, while it is wanted, media over it. Whatever breaks is tried again
 * until somebody says stop. Knows neither the page nor the camera.
 *
 * Phases: `connecting` · `locked` (a token is needed) · `ready` · `starting` · `live` · `mending` (was live) ·
 * `waiting` (the server said: later) · `ended` (the server said: no) · `away` (the page left by itself).
 */

import { connect, Refusal } from "./line.js";
import { Media } from "./media.js";

/** @typedef {"connecting" | "locked" | "ready" | "starting" | "live" | "mending" | "waiting" | "ended" | "away"} Phase */

const WATCH_MS = 250;
/** No picture for so long, and the media may be lost. A resting avatar still sends several a second. */
const STALE_MS = 1500;
/** Nothing heard on the socket for so long while media is lost too: a new one is faster than waiting. */
const SILENT_MS = 1600;
/** Nothing heard at all for so long: pings are answered every second. */
const DEAD_MS = 6000;
/** A connection that shows no picture by then is begun anew. */
const FIRST_PICTURE_MS = 6000;
/** Between two offers; the server allows one a second. */
const REOFFER_MS = 1100;
const BLOCKED_AFTER = 3;
const PAUSE_MS = 400;
/** Of what `retry_after` asks for: places are freed and servers are back at any moment, and asking is cheap. @type {Record<string, number>} */
const LONGEST_WAIT_S = { busy: 4, stopping: 1.5 };
/** Codes after which trying again by itself would not help. */
const FINAL = new Set(["bad_message", "too_big", "failed"]);

export class Session extends EventTarget {
  /**
   * Events: `phase`, `welcome`, `message`, `track`, `refused` (detail: the error), `unreachable`, `blocked`.
   * @param {string} url of the WebSocket
   */
  constructor(url) {
    super();
    this.url = url;
    this.token = "";
    /** @type {Phase} */
    this.phase = "away";
    /** @type {import("./line.js").Line | null} */
    this.line = null;
    /** @type {any} */
    this.welcome = null;
    /** @type {Media | null} */
    this.media = null;
    /** @type {MediaStream | null} what is sent while media is wanted */
    this.camera = null;
    this.wasLive = false;
    this.misses = 0;
    this.offeredAt = 0;
    this.offering = false;
    this.pictureAt = 0;
    this.decoded = 0;
    this.failures = 0;
    this.running = new AbortController();
    this.running.abort();
    /** @type {(() => void) | null} */
    this.wake = null;
    setInterval(() => this.watch(), WATCH_MS);
  }

  // What the page may ask for

  /** Come in, and stay in. */
  async connect() {
    if (!this.running.signal.aborted) return;
    this.running = new AbortController();
    const { signal } = this.running;
    if (this.phase !== "mending") this.enter("connecting");
    while (!signal.aborted) {
      if (this.line === null || this.suspect) await this.attempt(signal);
      else await this.pause(WATCH_MS, signal);
    }
  }

  /** Send `camera` and show what comes back. @param {MediaStream} camera */
  start(camera) {
    this.camera = camera;
    this.wasLive = false;
    this.failures = 0;
    if (this.line) {
      this.enter("starting");
      this.offer();
    } else {
      this.connect();
    }
  }

  /** No media any more. The line stays: avatar, neutral and uploads are kept, and starting again is quick. */
  stop() {
    this.camera = null;
    this.wasLive = false;
    this.dropMedia();
    if (this.line) this.enter("ready");
    else if (!this.running.signal.aborted) this.enter("connecting");
  }

  /** Leave the server until `connect` is called. @param {boolean} bye false: so that the session can be resumed */
  leave(bye = true) {
    this.running.abort();
    this.dropMedia();
    this.line?.leave(bye);
    this.line = null;
    if (bye) this.forget();
    this.enter("away");
    this.wake?.();
  }

  /** Try now instead of at the next turn. */
  hurry() {
    this.wake?.();
  }

  /** @param {string} type @param {Record<string, unknown>} [fields] */
  send(type, fields) {
    this.line?.send(type, fields);
  }

  /** A picture of the present connection was decoded; told by the page as well, which sees the first one sooner. */
  picture() {
    this.pictureAt = performance.now();
    this.failures = 0;
    if (this.camera && this.media) {
      this.wasLive = true;
      this.enter("live");
    }
  }

  /** The last line stopped being trusted: a second one is tried beside it. */
  get suspect() {
    const { line } = this;
    if (!line) return false;
    const stale = this.wasLive && performance.now() - this.pictureAt > STALE_MS;
    return line.silentMs > (stale ? SILENT_MS : DEAD_MS);
  }

  // The line

  /** @param {AbortSignal} signal */
  async attempt(signal) {
    const resume = this.welcome?.resume;
    const join = { ...(this.token && { token: this.token }), ...(resume && { resume }) };
    try {
      const { line, welcome } = await connect(this.url, join, this.patience, signal);
      if (signal.aborted) return line.leave(true);
      this.joined(line, welcome);
    } catch (error) {
      if (signal.aborted) return;
      this.misses += 1;
      if (error instanceof Refusal) await this.refused(error.error, signal);
      else await this.unanswered(signal);
    }
  }

  /** How long an attempt may take, ms: short, since only an attempt begun after the network is back finds it. */
  get patience() {
    const base = 600 + 4 * (this.lastRoundTripMs ?? 0);
    return this.misses % 4 === 3 || !this.welcome ? Math.max(5 * base, 4000) : base;
  }

  /** @param {import("./line.js").Line} line @param {any} welcome */
  joined(line, welcome) {
    this.line?.leave();
    this.line = line;
    this.welcome = welcome;
    this.misses = 0;
    line.addEventListener("message", (event) => this.hear(line, /** @type {CustomEvent} */ (event).detail));
    line.addEventListener("closed", (event) => this.lost(line, /** @type {CustomEvent} */ (event).detail));
    this.tell("welcome", welcome);
    if (this.camera) {
      this.enter(this.wasLive ? "mending" : "starting");
      this.offeredAt = 0;
      this.offer();
    } else {
      this.enter("ready");
    }
  }

  /** @param {import("./line.js").Line} line @param {any} fatal */
  lost(line, fatal) {
    if (line !== this.line) return;
    this.lastRoundTripMs = line.roundTripMs;
    this.line = null;
    // `replaced`: an attempt that was given up too early has got through after all; nobody else knows the secret.
    if (fatal && fatal.code !== "replaced") {
      this.tell("refused", fatal);
      if (FINAL.has(fatal.code)) return this.end();
    }
    this.enter(this.wasLive ? "mending" : "connecting");
    this.wake?.();
  }

  /** @param {any} error @param {AbortSignal} signal */
  async refused(error, signal) {
    this.tell("refused", error);
    if (error.code === "token") {
      this.running.abort();
      this.forget();
      return this.enter("locked");
    }
    if (FINAL.has(error.code)) return this.end();
    this.enter("waiting");
    const most = LONGEST_WAIT_S[error.code] ?? 60;
    await this.pause(1000 * Math.min(Math.max(error.retry_after ?? 2, 0.5), most), signal);
  }

  /** @param {AbortSignal} signal */
  async unanswered(signal) {
    if (this.line && !this.suspect) return;
    if (this.misses >= 3) this.tell("unreachable", null);
    this.enter(this.wasLive ? "mending" : "connecting");
    await this.pause(this.misses > 20 ? 5 * PAUSE_MS : PAUSE_MS, signal);
  }

  end() {
    this.running.abort();
    this.dropMedia();
    this.line?.leave();
    this.line = null;
    this.forget();
    this.enter("ended");
  }

  forget() {
    this.welcome = null;
  }

  /** @param {import("./line.js").Line} line @param {any} message */
  hear(line, message) {
    if (line !== this.line) return;
    if (message.type === "answer") {
      this.media?.accept(message.sdp).catch(() => this.again());
    } else if (message.type === "status" && message.media === "lost") {
      this.again();
    } else if (message.type === "error" && !message.fatal) {
      this.tell("refused", message);
    }
    this.tell("message", message);
  }

  // The media

  async offer() {
    if (!this.camera || !this.line || this.offering) return;
    this.offering = true;
    this.dropMedia();
    this.offeredAt = this.pictureAt = performance.now();
    this.decoded = 0;
    const { line } = this;
    const media = new Media(this.welcome.ice_servers ?? [], this.camera, {
      track: (track) => media === this.media && this.tell("track", track),
      down: () => media === this.media && this.again(),
    });
    this.media = media;
    try {
      const sdp = await media.offer();
      if (media === this.media && line === this.line) line.send("offer", { sdp });
    } finally {
      this.offering = false;
      // The line changed while candidates were gathered: the offer is due on the new one.
      if (this.camera && this.line && this.line !== line) this.offer();
    }
  }

  /** The media is lost, or never came: a new connection on the same session. */
  again() {
    if (!this.camera || !this.line || this.offering) return;
    if (performance.now() - this.offeredAt < REOFFER_MS) return; // `watch` comes back to it
    this.failures += 1;
    if (this.failures === BLOCKED_AFTER) this.tell("blocked", { connected: this.media?.connected ?? false });
    this.enter(this.wasLive ? "mending" : "starting");
    this.offer();
  }

  dropMedia() {
    this.media?.close();
    this.media = null;
  }

  /** A few times a second: do pictures come, and is the line alive? */
  async watch() {
    const { media } = this;
    if (!this.camera) return;
    if (media && !media.closed) {
      const reading = await media.reading().catch(() => null);
      if (media !== this.media || !reading) return;
      this.lastReading = reading;
      if (reading.decoded > this.decoded) {
        this.decoded = reading.decoded;
        this.picture();
      }
    }
    const since = performance.now() - this.pictureAt;
    if (this.phase === "live" && since > STALE_MS) this.enter("mending");
    if (this.suspect) this.wake?.();
    else if (this.line && since > (this.decoded > 0 ? 2 * STALE_MS : FIRST_PICTURE_MS)) this.again();
  }

  // Odds and ends

  /** @param {Phase} phase */
  enter(phase) {
    if (phase === this.phase) return;
    this.phase = phase;
    this.tell("phase", phase);
  }

  /** @param {string} type @param {unknown} detail */
  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @param {number} ms @param {AbortSignal} signal */
  pause(ms, signal) {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      /** @type {Session} */
      const self = this;
      function done() {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        if (self.wake === done) self.wake = null;
        resolve(undefined);
      }
      signal.addEventListener("abort", done);
      this.wake = done;
    });
  }
}
