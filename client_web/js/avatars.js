// @ts-check
/** The gallery of portraits, and bringing one's own. */

import { element } from "./directions.js";
import { LINES, serverProblem } from "./messages.js";

/** @typedef {{name: string, picture_url: string, own: boolean}} Avatar */

export class Gallery {
  /**
   * @param {HTMLElement} place a radio group
   * @param {(avatar: Avatar) => void} chosen
   */
  constructor(place, chosen) {
    this.place = place;
    this.chosen = chosen;
    /** @type {Avatar[]} */
    this.list = [];
  }

  /** @param {readonly Avatar[]} avatars @param {string} current */
  use(avatars, current) {
    const focused = this.place.contains(document.activeElement);
    this.list = [...avatars];
    this.place.replaceChildren(...this.list.map((avatar) => this.tile(avatar)));
    this.mark(current);
    if (focused) this.place.querySelector("input:checked")?.focus();
  }

  /** @param {Avatar} avatar */
  add(avatar) {
    this.list.push(avatar);
    this.place.append(this.tile(avatar));
  }

  /** Show which one is on stage. @param {string} name */
  mark(name) {
    for (const input of this.place.querySelectorAll("input")) input.checked = input.value === name;
  }

  /** @param {string} name */
  find(name) {
    return this.list.find((avatar) => avatar.name === name);
  }

  /** @param {Avatar} avatar */
  tile(avatar) {
    const shown = avatar.name.replace(/[_-]+/g, " ");
    const input = element("input", { type: "radio", name: "avatar", value: avatar.name });
    input.addEventListener("change", () => this.chosen(avatar));
    const picture = element("img", { src: avatar.picture_url, alt: "", loading: "lazy", decoding: "async" });
    return element("label", { class: "portrait", title: shown }, input, picture, element("span", {}, avatar.own ? `${shown} (yours)` : shown));
  }
}

/**
 * The consent question, asked every time.
 * @param {HTMLDialogElement} dialog
 * @param {File} file
 * @returns {Promise<string | null>} the answer, null if given up
 */
export function askConsent(dialog, file) {
  const picture = /** @type {HTMLImageElement} */ (dialog.querySelector("img"));
  const form = /** @type {HTMLFormElement} */ (dialog.querySelector("form"));
  const url = URL.createObjectURL(file);
  picture.src = url;
  form.reset();
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        URL.revokeObjectURL(url);
        picture.removeAttribute("src");
        const answer = new FormData(form).get("consent");
        resolve(dialog.returnValue === "use" && answer ? String(answer) : null);
      },
      { once: true },
    );
  });
}

/** Why a file is not even worth sending; "" if it is. @param {File} file @param {number} most bytes */
export function refusalOf(file, most) {
  if (!file.type.startsWith("image/")) return LINES.notAPicture;
  if (file.size > most) return LINES.tooBig(Math.floor(most / 2 ** 20));
  return "";
}

/**
 * @param {File} file
 * @param {{token: string, resume: string, consent: string}} session
 * @returns {Promise<{avatar?: Avatar, problem?: import("./messages.js").Problem}>}
 */
export async function upload(file, session) {
  const headers = {
    "X-Session": session.resume,
    "X-Consent": session.consent,
    "X-Name": encodeURIComponent(file.name.replace(/\.[^.]*$/, "").slice(0, 60) || "mine"),
    ...(session.token && { Authorization: `Bearer ${session.token}` }),
  };
  try {
    const response = await fetch("avatars", { method: "POST", headers, body: file });
    const answer = await response.json();
    if (response.ok) return { avatar: answer };
    // Its own words: those that go with the codes speak of the session, which goes on.
    return { problem: serverProblem({ ...answer, code: "" }) };
  } catch {
    return { problem: { title: "The picture did not reach the server.", next: "Try again when the connection is back." } };
  }
}
