// @ts-check
/** The motion directions as sliders. */

import { reach } from "./settings.js";

/** What training tied to a motion: its words, and what either end of the slider does, as seen in the picture. */
const KNOWN = /** @type {Record<string, [group: string, label: string, less: string, more: string]>} */ ({
  yaw: ["Head", "Turn", "left", "right"],
  pitch: ["Head", "Nod", "up", "down"],
  roll: ["Head", "Tilt", "left", "right"],
  x: ["Head", "Sideways", "left", "right"],
  y: ["Head", "Height", "up", "down"],
  scale: ["Head", "Nearness", "farther", "nearer"],
  "mouth open": ["Mouth", "Open mouth", "closed", "open"],
  smile: ["Mouth", "Smile", "frown", "smile"],
  pucker: ["Mouth", "Pucker", "wide", "pointed"],
  "jaw x": ["Mouth", "Jaw", "left", "right"],
  "blink left": ["Eyes and brows", "Left eyelid", "wide open", "closed"],
  "blink right": ["Eyes and brows", "Right eyelid", "wide open", "closed"],
  "brow raise": ["Eyes and brows", "Brows", "lowered", "raised"],
  "brow inner": ["Eyes and brows", "Inner brows", "drawn down", "drawn up"],
  "gaze x": ["Eyes and brows", "Look sideways", "left", "right"],
  "gaze y": ["Eyes and brows", "Look up or down", "up", "down"],
});
const UNKNOWN = "Without a name";
const ORDER = ["Head", "Mouth", "Eyes and brows", UNKNOWN];

/** @typedef {import("./settings.js").Direction} Direction */

export class Directions {
  /**
   * @param {HTMLElement} place
   * @param {(edits: number[]) => void} changed all edits, whenever one moved
   */
  constructor(place, changed) {
    this.place = place;
    this.changed = changed;
    /** @type {readonly Direction[]} */
    this.list = [];
    /** @type {number[]} */
    this.edits = [];
    /** @type {((value: number) => void)[]} shows a value on each slider */
    this.shows = [];
  }

  /**
   * Build the sliders anew where the directions are others; show `edits` in any case.
   * @param {readonly Direction[]} directions
   * @param {readonly number[]} edits
   */
  use(directions, edits) {
    const same = JSON.stringify(directions) === JSON.stringify(this.list);
    if (!same) this.build(directions);
    this.set(edits.length === directions.length ? edits : directions.map(() => 0));
  }

  /** Show these, without telling anybody. @param {readonly number[]} edits */
  set(edits) {
    this.edits = [...edits];
    this.edits.forEach((value, index) => this.shows[index](value));
  }

  /** Show these, and tell. @param {readonly number[]} edits */
  change(edits) {
    this.set(edits);
    this.changed(this.edits);
  }

  /** @param {readonly Direction[]} directions */
  build(directions) {
    this.list = directions;
    this.shows = [];
    /** @type {Map<string, HTMLElement>} */
    const groups = new Map();
    const rows = directions.map((direction, index) => this.row(direction, index));
    for (const name of ORDER) {
      directions.forEach((direction, index) => {
        if ((KNOWN[direction.name]?.[0] ?? UNKNOWN) !== name) return;
        const group = groups.get(name) ?? element("fieldset", {}, element("legend", {}, name));
        groups.set(name, group);
        group.append(rows[index]);
      });
    }
    this.place.replaceChildren(...groups.values());
  }

  /** @param {Direction} direction @param {number} index */
  row(direction, index) {
    const [, label, less, more] = KNOWN[direction.name] ?? [UNKNOWN, capital(direction.name), "", ""];
    const most = reach(direction);
    const id = `direction-${index}`;
    const input = /** @type {HTMLInputElement} */ (
      element("input", { type: "range", id, min: "-100", max: "100", step: "1", value: "0" })
    );
    const output = element("output", { for: id });
    const reset = element("button", { type: "button", "aria-label": `${label} to the middle`, title: "To the middle" });
    reset.innerHTML = '<svg aria-hidden="true"><use href="#i-reset"/></svg>';
    const row = element("div", { class: "direction", "data-edited": "no" }, element("label", { for: id }, label), output, reset, input);
    const say = () => {
      const percent = Number(input.value);
      const end = (percent < 0 ? less : more) || (percent < 0 ? "less" : "more");
      output.textContent = percent === 0 ? "" : `${Math.abs(percent)} % ${end}`;
      input.setAttribute("aria-valuetext", percent === 0 ? "middle" : `${Math.abs(percent)} percent ${end}`);
      row.dataset.edited = percent === 0 ? "no" : "yes";
    };
    this.shows.push((value) => {
      input.value = String(Math.round((value / most) * 100));
      say();
    });
    const told = () => {
      this.edits[index] = (Number(input.value) / 100) * most;
      say();
      this.changed(this.edits);
    };
    input.addEventListener("input", told);
    reset.addEventListener("click", () => {
      input.value = "0";
      told();
      input.focus(); // the button is gone now
    });
    return row;
  }
}

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {...(Node | string)} children
 */
export function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** @param {string} name */
function capital(name) {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
