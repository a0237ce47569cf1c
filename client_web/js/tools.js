// @ts-check
/** What can be done with the picture: record it, take it out of the page, make it large. */

import { LINES } from "./messages.js";
import { Recorder, save } from "./recorder.js";
import { byId } from "./view.js";

export class Tools {
  /** @param {import("./view.js").View} view */
  constructor(view) {
    this.view = view;
    this.recorder = new Recorder(({ blob, name }, asked) => {
      save(blob, name);
      view.say(asked ? LINES.recordingSaved : LINES.recordingEnded);
      this.showRecording();
    });
    byId("pip").hidden = !document.pictureInPictureEnabled;
    byId("record").addEventListener("click", () => this.record());
    byId("pip").addEventListener("click", () => this.pip());
    byId("fullscreen").addEventListener("click", () => this.fullscreen());
    byId("copy-delay").addEventListener("click", () => this.copyDelay());
  }

  /** @param {boolean} live there is a picture */
  show(live) {
    byId("record").disabled = !live || !Recorder.type;
    if (!Recorder.type) byId("record").title = LINES.cannotRecord;
    byId("pip").disabled = !live;
    this.showRecording();
  }

  showRecording() {
    const { running } = this.recorder;
    byId("record").dataset.on = running ? "yes" : "no";
    byId("record-label").textContent = running ? "Save recording" : "Record";
  }

  record() {
    if (this.recorder.running) this.recorder.stop();
    else if (this.view.output.srcObject) this.recorder.start(this.view.output.srcObject);
    if (this.recorder.running) this.view.say("Recording");
    this.showRecording();
  }

  /** @param {boolean} asked false: the connection broke */
  endRecording(asked) {
    if (this.recorder.running) this.recorder.stop(asked);
  }

  async pip() {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.view.output.requestPictureInPicture();
    } catch {
      this.view.say("This browser does not show the small window now");
    }
  }

  async fullscreen() {
    const { frame, output } = this.view;
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else if (frame.requestFullscreen) await frame.requestFullscreen();
      else output.webkitEnterFullscreen(); // iPhones: videos only
    } catch {
      this.view.say("This browser does not give the full screen now");
    }
  }

  async copyDelay() {
    await navigator.clipboard?.writeText(byId("audio-delay").textContent.replace(/\D/g, ""));
    this.view.say("Audio delay copied");
  }
}
