// @ts-check
/** What the page knows of the picture on its way, once a second. */

import { between, delayOf, History, percentile } from "./measure.js";

const LENGTH = 60;
/** The delay's percentiles are those of this many seconds, as the server's are of its last few. */
const RECENT = 5;

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
        p95: (percentile(this.outside.values, 95) ?? 0) + this.server.age_ms.p95,
      };
    }
    this.view.figures(this.now, this.delays.values, this.rates.values, LENGTH);
  }
}
