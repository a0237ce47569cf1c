// @ts-check
/** What the page knows of the picture on its way, once a second. */

import { between, delayOf, History, percentile } from "./measure.js";

const LENGTH = 60;
/** The delay's percentiles are those of this many seconds, as the server's are of its last few. */
const RECENT = 5;

/**
 * What to do about a poor picture, by what is short; "" where nothing is.
 * @param {{lossPercent: number, roundTripMs: number, modelMs: number}} link
 * @param {number} fps of the last seconds
 */
export function adviceFor(link, fps) {
  if (link.lossPercent > 3) return "The network loses pictures. A cable, or a place nearer to the router, helps most.";
  if (link.roundTripMs > 200) return "The way to the server is long. A server nearer to you, or another network, shortens the delay.";
  if (fps >= 15) return "";
  if (link.modelMs > 55) return "The server is slow or busy. Fewer sessions at once, or a faster machine, gives more pictures.";
  return "Fewer pictures than usual. Close what else uses this machine or the network, or try another camera.";
}

export class Figures {
  /** @param {import("./view.js").View} view */
  constructor(view) {
    this.view = view;
    this.delays = new History(LENGTH);
    this.rates = new History(LENGTH);
    this.outside = new History(RECENT);
    /** @type {import("./measure.js").Reading | null} */
    this.before = null;
    /** @type {any} */
    this.server = null;
    /** @type {any} the newest, for programs that look at the page */
    this.now = null;
    this.clear();
  }

  /** A new connection counts from nothing; the plot goes on. */
  restart() {
    this.before = null;
    this.server = null;
    this.outside.clear();
  }

  clear() {
    this.restart();
    this.delays.clear();
    this.rates.clear();
    this.now = null;
    this.view.figures(null, [], [], LENGTH);
  }

  /** @param {any} stats the server's message */
  hear(stats) {
    this.server = stats;
  }

  /** @param {import("./measure.js").Reading} reading */
  take(reading) {
    const { before } = this;
    this.before = reading;
    if (!before || before.at >= reading.at || reading.decoded < before.decoded) return;
    const link = between(before, reading);
    this.rates.add(link.fps);
    if (this.server?.age_ms?.p50 > 0) {
      const delay = delayOf(link, this.server.age_ms);
      this.outside.add(delay.outside);
      this.delays.add(delay.p50);
      this.now = {
        fps: link.fps,
        kbps: link.kbps,
        loss: link.lossPercent,
        parts: delay.parts,
        p50: (percentile(this.outside.values, 50) ?? 0) + this.server.age_ms.p50,
        advice: adviceFor({ ...link, modelMs: this.server.model_ms?.p50 ?? 0 }, percentile(this.rates.values.slice(-RECENT), 50) ?? 0),
        p95: (percentile(this.outside.values, 95) ?? 0) + this.server.age_ms.p95,
      };
    }
    this.view.figures(this.now, this.delays.values, this.rates.values, LENGTH);
  }
}
