// @ts-check
/** The WebSocket: one joined connection to the server, its heartbeat, and why there is none. */

/** The server answered, and said no. `retryAfter`: seconds, or null. */
export class Refusal extends Error {
  /** @param {{code: string, message?: string, hint?: string, fatal?: boolean, retry_after?: number}} error */
  constructor(error) {
    super(error.message ?? error.code);
    this.error = error;
    this.code = error.code;
    this.retryAfter = error.retry_after ?? null;
  }
}

/** Nobody answered, or not in time. */
export class Unreachable extends Error {}

const PING_MS = 1000;

/**
 * Open a socket and join. Rejects with `Refusal` or `Unreachable`.
 * @param {string} url
 * @param {{token?: string, resume?: string}} join
 * @param {number} timeoutMs for opening, and again for the answer
 * @param {AbortSignal} signal gives up and closes
 * @returns {Promise<{line: Line, welcome: any}>}
 */
export function connect(url, join, timeoutMs, signal) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    let timer = setTimeout(() => give(new Unreachable("no answer")), timeoutMs);
    const aborted = () => give(new Unreachable("given up"));
    signal.addEventListener("abort", aborted, { once: true });
    /** @param {Error | null} error */
    const settle = (error) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", aborted);
      socket.onopen = socket.onmessage = socket.onclose = null;
      if (error) reject(error);
    };
    /** @param {Error} error */
    const give = (error) => {
      settle(error);
      socket.close();
    };
    socket.onopen = () => {
      clearTimeout(timer);
      timer = setTimeout(() => give(new Unreachable("no welcome")), timeoutMs + 1000);
      socket.send(JSON.stringify({ type: "join", ...join }));
    };
    socket.onmessage = (event) => {
      const message = parse(event.data);
      if (message.type === "welcome") {
        settle(null);
        resolve({ line: new Line(socket), welcome: message });
      } else if (message.type === "error") {
        give(new Refusal(message));
      }
    };
    socket.onclose = () => settle(new Unreachable("closed"));
  });
}

/** A joined socket. Events: `message` (detail: the message), `closed` (detail: the fatal error that came before, or null). */
export class Line extends EventTarget {
  /** @param {WebSocket} socket */
  constructor(socket) {
    super();
    this.socket = socket;
    this.heardAt = performance.now();
    /** @type {number | null} ms, of the last ping */
    this.roundTripMs = null;
    /** @type {any} */
    this.fatal = null;
    this.timer = setInterval(() => this.send("ping", { t: performance.now() }), PING_MS);
    socket.onmessage = (event) => this.hear(parse(event.data));
    socket.onclose = () => {
      clearInterval(this.timer);
      this.dispatchEvent(new CustomEvent("closed", { detail: this.fatal }));
    };
  }

  /** For how long nothing was heard, ms. */
  get silentMs() {
    return performance.now() - this.heardAt;
  }

  /** @param {any} message */
  hear(message) {
    this.heardAt = performance.now();
    if (message.type === "pong") {
      this.roundTripMs = this.heardAt - message.t;
      return;
    }
    if (message.type === "error" && message.fatal) this.fatal = message;
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  /** @param {string} type @param {Record<string, unknown>} [fields] */
  send(type, fields = {}) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type, ...fields }));
  }

  /** Without another word of it: no `closed` event follows. `bye`: the session ends instead of being parked. */
  leave(bye = false) {
    clearInterval(this.timer);
    this.socket.onmessage = this.socket.onclose = null;
    if (bye) this.send("bye");
    // 4000 and not 1000: the server keeps the session for a return.
    this.socket.close(bye ? 1000 : 4000);
  }
}

/** @param {unknown} data */
function parse(data) {
  try {
    const message = JSON.parse(String(data));
    return message && typeof message === "object" ? message : {};
  } catch {
    return {};
  }
}
