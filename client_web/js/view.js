// @ts-check
/** The page's own elements: status, problem box, stage and figures. Knows the DOM and nothing of the network. */

import { element } from "./directions.js";
import { neutralWords } from "./messages.js";
import { PARTS } from "./measure.js";
import { draw } from "./plot.js";

/** @param {string} id @returns {any} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element ${id}`);
  return found;
}

const CHOOSE = "Choose a portrait, press Start, and it moves with you.";

/**
 * What each phase is called in the corner, which colour it has, and what stands on the stage while there is no
 * picture. @type {Record<string, [string, string, string]>}
 */
const WORDS = {
  connecting: ["busy", "Connecting to the server…", "One moment: the portraits are on their way."],
  locked: ["ready", "This server asks for a token", "Give the token of this server first."],
  ready: ["ready", "Ready", CHOOSE],
  asking: ["busy", "Waiting for the camera", "The browser asks whether this page may use the camera: allow it."],
  starting: ["busy", "Starting the avatar…", "The avatar is coming to life."],
  live: ["live", "Live", ""],
  mending: ["busy", "The connection broke; mending it…", "The last picture stays until the next one arrives."],
  waiting: ["busy", "The server says: later. Trying again…", "This page comes in by itself as soon as it may."],
  ended: ["failed", "Not connected", CHOOSE],
  away: ["idle", "Left the server while nobody looked", CHOOSE],
};

/** @type {Record<string, string>} what the server sees of the driver, while live */
const DRIVER = {
  "no face": "Live, but no face in sight: the avatar rests",
  "no camera": "Live, but no camera picture arrives: the avatar rests",
};

export class View {
  constructor() {
    this.frame = byId("frame");
    this.output = byId("output");
    this.clean = document.documentElement.dataset.view === "output";
    /** @type {string} */
    this.said = "";
  }

  /** @param {string} phase @param {string} [driver] of a live session */
  phase(phase, driver = "") {
    const [colour, words, stage] = WORDS[phase] ?? WORDS.connecting;
    byId("veil").textContent = stage;
    const status = byId("status");
    status.dataset.state = colour;
    status.dataset.phase = phase;
    this.say((phase === "live" && DRIVER[driver]) || words);
  }

  /** One sentence for eyes and screen readers; the same twice is said once. @param {string} words */
  say(words) {
    if (words === this.said) return;
    this.said = words;
    byId("status").textContent = words;
  }

  /** @param {import("./messages.js").Problem} problem @param {(() => void) | null} retry */
  problem(problem, retry) {
    const box = byId("problem");
    // In the clean view whoever is on air is not told by way of the picture.
    if (this.clean && this.frame.dataset.live !== "no") return;
    this.retry = retry;
    byId("problem-title").textContent = problem.title;
    byId("problem-next").textContent = problem.next;
    byId("retry").hidden = !retry;
    box.hidden = false;
  }

  calm() {
    byId("problem").hidden = true;
  }

  /** @param {boolean} wanted media runs or is being started */
  running(wanted) {
    const { activeElement } = document;
    const [start, stop] = [byId("start"), byId("stop")];
    start.hidden = wanted;
    stop.hidden = !wanted;
    // The focus does not fall out of the page when the button under it goes.
    if (activeElement === start && wanted) stop.focus();
    if (activeElement === stop && !wanted) start.focus();
    byId("start-hint").hidden = wanted;
  }

  /**
   * The avatar's track. `first` is called at its first picture; until then the last picture of the one before stays.
   * @param {MediaStreamTrack} track @param {() => void} first
   */
  show(track, first) {
    const { output } = this;
    const attach = () => {
      output.srcObject = new MediaStream([track]);
      output.play().catch(() => {}); // a newer track came in between
      const seen = () => {
        if (output.srcObject?.getVideoTracks()[0] !== track) return;
        this.frame.dataset.live = "yes";
        first();
      };
      if (output.requestVideoFrameCallback) output.requestVideoFrameCallback(seen);
      else output.addEventListener("loadeddata", seen, { once: true });
    };
    if (this.frame.dataset.live !== "no" && track.muted) track.addEventListener("unmute", attach, { once: true });
    else attach();
  }

  /** No picture any more: the portrait, at rest. */
  rest() {
    this.output.srcObject = null;
    this.frame.dataset.live = "no";
  }

  /** @param {string} url @param {string} name */
  portrait(url, name) {
    const resting = byId("resting");
    resting.hidden = !url;
    if (url) resting.src = url;
    resting.alt = url ? `The portrait ${name}` : "";
  }

  /** @param {MediaStream | null} camera @param {boolean} shown */
  selfView(camera, shown) {
    const video = byId("camera");
    if (video.srcObject !== camera) video.srcObject = camera;
    if (camera) video.play().catch(() => {}); // hidden videos may refuse; they play when shown
    byId("selfview").hidden = !(camera && shown);
  }

  /** @param {{calibrated: boolean, neutral_score: number} | null} status */
  neutral(status) {
    byId("neutral").hidden = !status;
    if (!status) return;
    byId("neutral-text").textContent = status.calibrated
      ? `${neutralWords(status.neutral_score)} ${Math.round(status.neutral_score * 100)} of 100`
      : "Looking for your neutral face: look straight ahead, mouth closed.";
    byId("neutral-score").value = status.neutral_score;
    byId("neutral-score").hidden = !status.calibrated;
  }

  /**
   * @param {{fps: number, p50: number, p95: number, kbps: number, loss: number, parts: Record<string, number>, advice: string} | null} figures
   * @param {readonly number[]} delays @param {readonly number[]} rates @param {number} length
   */
  figures(figures, delays, rates, length) {
    const round = (/** @type {number | undefined} */ value, digits = 0) => (value === undefined ? "–" : value.toFixed(digits));
    byId("stats").dataset.live = figures ? "yes" : "no";
    byId("fps").textContent = round(figures?.fps);
    byId("delay-p50").textContent = round(figures?.p50);
    byId("delay-p95").textContent = round(figures?.p95);
    byId("bitrate").textContent = round(figures?.kbps);
    byId("loss").textContent = round(figures?.loss, 1);
    byId("audio-delay").textContent = figures ? `${audioDelay(figures.p50)} ms` : "after Start";
    byId("copy-delay").hidden = !figures;
    byId("plot").setAttribute(
      "aria-label",
      figures
        ? `The last minute: delay ${round(figures.p50)} milliseconds, ${round(figures.fps)} pictures a second`
        : "Delay and pictures a second over the last minute; no figures yet",
    );
    byId("advice").textContent = figures?.advice ?? "";
    draw(byId("plot"), delays, rates, length);
    this.breakdown(figures?.parts ?? null);
  }

  /** @param {Record<string, number> | null} parts ms */
  breakdown(parts) {
    const total = parts ? Object.values(parts).reduce((sum, part) => sum + part, 0) : 0;
    const legend = byId("legend");
    if (!legend.children.length) {
      PARTS.forEach(([, label], index) => {
        legend.append(element("li", {}, element("i", { class: `part-${index + 1}` }), label, element("b", {}, "–")));
        byId("bar").append(element("i", { class: `part-${index + 1}` }));
      });
    }
    PARTS.forEach(([key], index) => {
      const value = parts?.[key] ?? 0;
      byId("bar").children[index].style.flexGrow = String(total > 0 ? value / total : 0);
      legend.children[index].lastElementChild.textContent = parts ? `${value.toFixed(value < 10 ? 1 : 0)} ms` : "–";
    });
  }
}

/** To the next five milliseconds: finer is neither heard nor known. @param {number} ms */
export function audioDelay(ms) {
  return Math.max(0, Math.round(ms / 5) * 5);
}
