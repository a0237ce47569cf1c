// @ts-check
/** What can be set, its limits, and its two homes: the server, and a JSON file of directions. */

/**
 * @typedef {object} Settings
 * @property {number} strength 0 to 2
 * @property {"relative" | "absolute"} mode
 * @property {boolean} mirror
 * @property {number} smooth 0 to 1
 * @property {number[]} edits one a direction, or none
 */

/**
 * @typedef {object} Direction
 * @property {string} name
 * @property {number} low
 * @property {number} high
 * @property {number} neutral
 * @property {number} scale
 */

const FORMAT = "lia-live directions";
const STORE = "lia-live.settings";
/** @type {Settings} */
export const DEFAULTS = { strength: 1, mode: "relative", mirror: false, smooth: 0.3, edits: [] };

/**
 * Only what is valid of `found`; edits aside, which belong to one network.
 * @param {any} found
 * @returns {Partial<Settings>}
 */
export function valid(found) {
  /** @type {Partial<Settings>} */
  const good = {};
  if (within(found?.strength, 0, 2)) good.strength = found.strength;
  if (within(found?.smooth, 0, 1)) good.smooth = found.smooth;
  if (typeof found?.mirror === "boolean") good.mirror = found.mirror;
  if (found?.mode === "relative" || found?.mode === "absolute") good.mode = found.mode;
  return good;
}

/** @param {unknown} value @param {number} low @param {number} high */
function within(value, low, high) {
  return typeof value === "number" && Number.isFinite(value) && value >= low && value <= high;
}

/** How far a slider reaches to either side, in the direction's unit. @param {Direction} direction */
export function reach(direction) {
  const most = Math.max(Math.abs(direction.low - direction.neutral), Math.abs(direction.high - direction.neutral));
  return Math.min(Math.max(most, 1e-3), 100);
}

/**
 * Edits as the text of a file: by name, so that another network finds what it shares.
 * @param {readonly Direction[]} directions
 * @param {readonly number[]} edits
 */
export function toFile(directions, edits) {
  const named = Object.fromEntries(directions.map((d, i) => [d.name, rounded(edits[i] ?? 0)]));
  return JSON.stringify({ format: FORMAT, version: 1, edits: named }, null, 2) + "\n";
}

/**
 * Edits from such a text, held to each direction's reach; what the file does not name is 0.
 * @param {readonly Direction[]} directions
 * @param {string} text
 * @returns {{edits: number[], unknown: string[]}} `unknown`: names the network on stage does not have
 */
export function fromFile(directions, text) {
  const found = JSON.parse(text);
  if (found?.format !== FORMAT || typeof found.edits !== "object" || found.edits === null) {
    throw new TypeError("not a file of directions");
  }
  for (const value of Object.values(found.edits)) {
    if (typeof value !== "number" || !Number.isFinite(value)) throw new TypeError("edits are numbers");
  }
  const edits = directions.map((direction) => {
    const most = reach(direction);
    return Math.min(Math.max(found.edits[direction.name] ?? 0, -most), most);
  });
  const names = new Set(directions.map((direction) => direction.name));
  return { edits, unknown: Object.keys(found.edits).filter((name) => !names.has(name)) };
}

/** @param {number} value */
function rounded(value) {
  return Math.round(value * 1000) / 1000;
}

/** Preferences of this browser: never a token, never a face. @returns {Partial<Settings> & {device?: string}} */
export function remembered() {
  try {
    const found = JSON.parse(localStorage.getItem(STORE) ?? "{}");
    return { ...valid(found), ...(typeof found.device === "string" && { device: found.device }) };
  } catch {
    return {}; // storage switched off, or filled by something else
  }
}

/** @param {Partial<Settings> & {device?: string}} preferences */
export function remember(preferences) {
  try {
    localStorage.setItem(STORE, JSON.stringify(preferences));
  } catch {
    // storage switched off: the page works all the same
  }
}

/**
 * Calls `send` with the newest value only, `perSecond` times at most, and always with the last one.
 * @template T
 * @param {(value: T) => void} send
 * @param {number} perSecond
 */
export function paced(send, perSecond) {
  const spacing = 1000 / perSecond;
  let last = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | null} */
  let timer = null;
  /** @type {T} */
  let newest;
  const go = () => {
    timer = null;
    last = performance.now();
    send(newest);
  };
  return (/** @type {T} */ value) => {
    newest = value;
    if (timer === null) timer = setTimeout(go, Math.max(0, last + spacing - performance.now()));
  };
}
