// @ts-check
/** A phone whose screen goes dark takes the camera with it: while the avatar is live, the screen stays on. */

export class Awake {
  constructor() {
    this.wanted = false;
    /** @type {any} */
    this.lock = null;
    document.addEventListener("visibilitychange", () => this.hold()); // a hidden page loses it
  }

  /** @param {boolean} wanted */
  keep(wanted) {
    if (wanted === this.wanted) return;
    this.wanted = wanted;
    this.hold();
  }

  async hold() {
    if (!this.wanted) {
      this.lock?.release().catch(() => {});
      this.lock = null;
    } else if (!document.hidden && (!this.lock || this.lock.released)) {
      const lock = await /** @type {any} */ (navigator).wakeLock?.request("screen").catch(() => null); // a nearly empty battery
      this.lock = lock ?? null;
      if (!this.wanted) this.hold();
    }
  }
}
