// @ts-check
/** Movement and directions: what is set, shown, sent and remembered. */

import { DEFAULTS, fromFile, paced, remember, remembered, toFile, valid } from "./settings.js";
import { Directions } from "./directions.js";
import { LINES } from "./messages.js";
import { save } from "./recorder.js";
import { byId } from "./view.js";

const SLIDERS = /** @type {const} */ (["strength", "smooth"]);

export class Controls {
  /** @param {(settings: import("./settings.js").Settings) => void} send */
  constructor(send) {
    this.sending = send;
    this.send = paced(() => send({ ...this.settings }), 20);
    this.preferences = remembered();
    /** @type {import("./settings.js").Settings} */
    this.settings = { ...DEFAULTS, ...valid(this.preferences) };
    /** The server's own beginning was taken over; from then on the page knows better. */
    this.adopted = false;
    this.directions = new Directions(byId("directions"), (edits) => {
      this.settings.edits = edits;
      byId("edits-message").textContent = "";
      this.send(null);
    });
    this.listen();
    this.show();
  }

  listen() {
    for (const name of SLIDERS) {
      byId(name).addEventListener("input", () => this.set({ [name]: Number(byId(name).value) }));
    }
    byId("mirror").addEventListener("change", () => this.set({ mirror: byId("mirror").checked }));
    for (const radio of modes()) radio.addEventListener("change", () => this.set({ mode: /** @type {any} */ (radio.value) }));
    byId("reset-edits").addEventListener("click", () => this.directions.change(this.directions.list.map(() => 0)));
    byId("save-edits").addEventListener("click", () => {
      const text = toFile(this.directions.list, this.directions.edits);
      save(new Blob([text], { type: "application/json" }), "lia-live-directions.json");
    });
    byId("load-edits").addEventListener("click", () => byId("edits-file").click());
    byId("edits-file").addEventListener("change", () => this.load());
  }

  /** @param {Partial<import("./settings.js").Settings>} some */
  set(some) {
    Object.assign(this.settings, some);
    this.show();
    this.send(null);
    this.remember();
  }

  /**
   * The session begins: a resumed one knows better what it does, a new one is told what this page is set to.
   * @param {any} welcome
   */
  adopt(welcome) {
    this.send = paced(() => this.sending({ ...this.settings }), Math.min(welcome.limits?.settings_hz || 20, 30));
    if (welcome.resumed) return this.use(welcome.directions, welcome.settings);
    const mine = this.adopted ? this.settings : valid(this.preferences);
    this.adopted = true;
    const settings = { ...welcome.settings, ...mine };
    this.use(welcome.directions, settings);
    const told = JSON.stringify({ ...settings, edits: this.settings.edits });
    if (told !== JSON.stringify({ ...settings, ...welcome.settings, edits: this.zeros })) this.send(null);
  }

  get zeros() {
    return this.directions.list.map(() => 0);
  }

  /** @param {readonly import("./settings.js").Direction[]} directions @param {any} settings */
  use(directions, settings) {
    this.directions.use(directions, settings.edits ?? []);
    Object.assign(this.settings, valid(settings), { edits: this.directions.edits });
    this.show();
  }

  show() {
    const { settings } = this;
    for (const name of SLIDERS) {
      const percent = Math.round(settings[name] * 100);
      byId(name).value = String(settings[name]);
      byId(name).setAttribute("aria-valuetext", `${percent} percent`);
      byId(`${name}-value`).textContent = `${percent} %`;
    }
    byId("mirror").checked = settings.mirror;
    for (const radio of modes()) radio.checked = radio.value === settings.mode;
  }

  remember() {
    remember({ ...valid(this.settings), device: byId("device").value });
  }

  async load() {
    const [file] = byId("edits-file").files;
    byId("edits-file").value = "";
    if (!file) return;
    try {
      const { edits, unknown } = fromFile(this.directions.list, await file.text());
      this.directions.change(edits);
      byId("edits-message").textContent = unknown.length ? `Loaded; this network does not have: ${unknown.join(", ")}.` : "Loaded.";
    } catch {
      byId("edits-message").textContent = LINES.notSettings;
    }
  }
}

/** @returns {NodeListOf<HTMLInputElement>} */
function modes() {
  return document.querySelectorAll("input[name=mode]");
}
