// @ts-check
/** Joins camera, session and view. Everything a person does on the page arrives here. */

import { askConsent, Gallery, refusalOf, upload } from "./avatars.js";
import { Awake } from "./awake.js";
import { cameraProblem, PROBLEMS, serverProblem } from "./messages.js";
import { closeCamera, listCameras, openAnother, openCamera, watchCameras } from "./camera.js";
import { Controls } from "./controls.js";
import { Figures } from "./figures.js";
import { Session } from "./session.js";
import { supported } from "./media.js";
import { Tools } from "./tools.js";
import { byId, View } from "./view.js";

const TOKEN = "lia-live.token";
const COUNT_S = 3;
/** An open page that nobody looks at gives its place at the server to somebody else. */
const AWAY_MS = 120_000;

const query = new URLSearchParams(location.search);
const clean = query.get("view") === "output";
if (clean) document.documentElement.dataset.view = "output";

const view = new View();
const figures = new Figures(view);
const socket = new URL("ws", location.href);
socket.protocol = socket.protocol.replace("http", "ws");
socket.search = socket.hash = "";
const session = new Session(socket.href);

/** @type {MediaStream | null} */
let camera = null;
let asking = false;
let startedAt = 0;
let changes = 0;
/** @type {any} the server's newest `status` */
let status = null;
/** @type {string} chosen here; "" until somebody chose, or the address did */
let chosen = query.get("avatar") ?? "";
/** @type {ReturnType<typeof setInterval> | null} */
let counting = null;

const gallery = new Gallery(byId("avatars"), (avatar) => {
  chosen = avatar.name;
  view.portrait(avatar.picture_url, avatar.name);
  session.send("avatar", { name: avatar.name });
});
const controls = new Controls((settings) => session.send("settings", settings));
const tools = new Tools(view);
const awake = new Awake();

// Start, stop, and the camera

async function start() {
  if (asking || camera) return;
  view.calm();
  if (!supported()) return view.problem(PROBLEMS.noWebRTC, null);
  if (session.welcome && !gallery.list.length) return view.problem(PROBLEMS.noAvatar, null);
  startedAt = performance.now();
  asking = true;
  view.phase("asking");
  try {
    camera = await openCamera(byId("device").value);
  } catch (error) {
    view.phase(session.phase);
    return view.problem(cameraProblem(/** @type {DOMException} */ (error)), start);
  } finally {
    asking = false;
  }
  follow(camera);
  view.running(true);
  showSelf();
  session.start(camera);
  fillCameras();
}

function stop() {
  tools.endRecording(true);
  stopCounting();
  closeCamera(camera);
  camera = null;
  session.stop();
  view.rest();
  view.running(false);
  showSelf();
  figures.clear();
  view.neutral(null);
  status = null;
  showTools();
  view.phase(session.phase);
}

/** @param {MediaStream} stream notices when the camera is pulled out */
function follow(stream) {
  for (const track of stream.getVideoTracks()) {
    track.addEventListener("ended", () => {
      if (stream !== camera) return;
      stop();
      view.problem(cameraProblem({ name: "CameraEnded" }), start);
    });
  }
}

async function changeCamera() {
  controls.remember();
  const before = camera;
  if (!before) return;
  changes += 1;
  const change = changes;
  // Stopped, or changed once more, while the browser was opening this one.
  const late = () => camera !== before || change !== changes;
  /** @type {MediaStream | null} */
  let next = null;
  try {
    next = await openAnother(byId("device").value, before);
    if (late()) return closeCamera(next);
    await session.media?.replaceCamera(next.getVideoTracks()[0]);
    if (late()) return closeCamera(next);
    session.camera = camera = next;
    closeCamera(before);
    follow(next);
    showSelf();
    view.calm();
  } catch (error) {
    closeCamera(next);
    if (late()) return;
    const gone = before.getTracks().every((track) => track.readyState === "ended");
    if (gone) stop();
    view.problem(cameraProblem(/** @type {DOMException} */ (error)), gone ? start : changeCamera);
  }
}

async function fillCameras() {
  const select = byId("device");
  const found = await listCameras();
  const named = query.get("camera");
  const wanted = found.find((one) => named && one.name === named)?.id ?? (select.value || controls.preferences.device || "");
  const first = select.options[0];
  select.replaceChildren(first, ...found.map((one) => new Option(one.name, one.id)));
  select.value = found.some((one) => one.id === wanted) ? wanted : "";
  byId("device-hint").hidden = found.some((one) => !/^Camera \d+$/.test(one.name));
}

function showSelf() {
  const wanted = clean ? query.get("self") === "1" : byId("show-self").checked;
  view.selfView(camera, wanted);
}

// Calibrate

function calibrate() {
  if (counting !== null || session.phase !== "live") return;
  let left = COUNT_S;
  const tick = () => {
    byId("count").textContent = String(left);
    view.say(`Look straight ahead, mouth closed: ${left}`);
    if (left === 0) {
      stopCounting();
      session.send("calibrate");
      view.say("Taking the neutral face: hold still");
    }
    left -= 1;
  };
  byId("countdown").hidden = false;
  counting = setInterval(tick, 1000);
  tick();
  showTools();
}

function showTools() {
  const live = session.phase === "live";
  byId("calibrate").disabled = !live || counting !== null;
  tools.show(live);
}

function stopCounting() {
  if (counting !== null) clearInterval(counting);
  counting = null;
  byId("countdown").hidden = true;
  showTools();
}

// What the server says

session.addEventListener("phase", (event) => {
  const phase = /** @type {CustomEvent} */ (event).detail;
  byId("start").disabled = !["ready", "live", "starting", "mending"].includes(phase);
  byId("access").hidden = phase !== "locked";
  if (phase === "locked") byId("token").focus();
  if (phase === "live" || phase === "ready") view.calm();
  if (phase === "mending") {
    view.frame.dataset.live = "held";
    tools.endRecording(false);
    stopCounting();
  }
  if (phase === "live") view.frame.dataset.live = "yes";
  if (phase === "ended" && camera) stop();
  awake.keep(camera !== null);
  if (!asking) view.phase(phase, status?.driver);
  if (phase === "ready" && clean && !camera) start();
  showTools();
});

session.addEventListener("welcome", (event) => {
  const welcome = /** @type {CustomEvent} */ (event).detail;
  if (session.token) sessionStorage.setItem(TOKEN, session.token);
  const known = welcome.avatars.some((/** @type {any} */ one) => one.name === chosen);
  const current = known ? chosen : welcome.avatar;
  gallery.use(welcome.avatars, current);
  const avatar = gallery.find(current);
  view.portrait(avatar?.picture_url ?? "", current);
  if (known && current !== welcome.avatar) session.send("avatar", { name: current });
  byId("upload").hidden = !welcome.uploads;
  controls.adopt(welcome);
  fillCameras();
});

session.addEventListener("message", (event) => {
  const message = /** @type {CustomEvent} */ (event).detail;
  if (message.type === "status") hearStatus(message);
  else if (message.type === "stats") figures.hear(message);
  else if (message.type === "directions") {
    controls.use(message.directions, message.settings);
  }
});

/** @param {any} message */
function hearStatus(message) {
  status = message;
  gallery.mark(message.avatar);
  if (session.phase !== "live") return;
  view.neutral(message);
  if (counting === null) view.phase("live", message.driver);
}

session.addEventListener("track", (event) => {
  figures.restart();
  view.show(/** @type {CustomEvent} */ (event).detail, () => {
    if (!view.output.dataset.firstPictureMs || session.phase === "starting") {
      view.output.dataset.firstPictureMs = String(Math.round(performance.now() - startedAt));
    }
    session.picture();
    if (status) view.neutral(status);
  });
});

session.addEventListener("refused", (event) => {
  const error = /** @type {CustomEvent} */ (event).detail;
  if (error.code === "token") {
    byId("token-problem").textContent = session.token ? "That is not the token of this server. Check for missing letters, and try again." : "";
    sessionStorage.removeItem(TOKEN);
    return;
  }
  const again = error.fatal ? retry : null;
  view.problem(serverProblem(error), again);
  if (error.code === "unknown_avatar" || error.code === "avatar") gallery.mark(status?.avatar ?? session.welcome?.avatar ?? "");
});
session.addEventListener("unreachable", () => view.problem(PROBLEMS.unreachable, retry));
session.addEventListener("blocked", (event) => {
  view.problem(/** @type {CustomEvent} */ (event).detail.connected ? PROBLEMS.noPicture : PROBLEMS.noPath, retry);
});

/** The person says: try now. */
function retry() {
  if (session.phase === "ended" || session.phase === "away") session.connect();
  else session.hurry();
}

// A portrait of one's own

/** @param {File | undefined} file */
async function bring(file) {
  if (!file || !session.welcome?.uploads) return;
  const hint = byId("upload-hint");
  const refusal = refusalOf(file, session.welcome.limits.upload_bytes);
  if (refusal) return view.problem({ title: refusal, next: "Choose another file." }, null);
  const consent = await askConsent(byId("consent"), file);
  if (!consent || !session.welcome) return;
  const before = hint.textContent;
  hint.textContent = "Preparing the portrait…";
  view.say("Preparing the portrait…");
  const { avatar, problem } = await upload(file, { token: session.token, resume: session.welcome.resume, consent });
  hint.textContent = before;
  view.phase(session.phase, status?.driver);
  if (problem || !avatar) return view.problem(problem ?? serverProblem({}), null);
  view.calm();
  gallery.add(avatar);
  gallery.mark(avatar.name);
  gallery.chosen(avatar);
}

byId("add-avatar").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", () => {
  const [file] = byId("file").files;
  byId("file").value = "";
  bring(file);
});
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault(); // or the browser would leave the page for the file
  byId("drop").hidden = !session.welcome?.uploads;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("drop").hidden = true;
});
document.addEventListener("drop", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return; // words may be dropped into a field
  event.preventDefault();
  byId("drop").hidden = true;
  bring(event.dataTransfer.files[0]);
});

// The rest of the buttons

byId("start").addEventListener("click", start);
byId("stop").addEventListener("click", stop);
byId("calibrate").addEventListener("click", calibrate);
byId("retry").addEventListener("click", () => view.retry?.());
byId("dismiss").addEventListener("click", () => view.calm());
byId("show-self").addEventListener("change", showSelf);
byId("device").addEventListener("change", changeCamera);
byId("access-form").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  session.token = byId("token").value.trim();
  byId("token-problem").textContent = "";
  session.connect();
});

// Coming and going

watchCameras(fillCameras);
window.addEventListener("online", () => session.hurry());
window.addEventListener("pagehide", () => session.leave());
window.addEventListener("pageshow", (event) => event.persisted && session.connect());
/** @type {ReturnType<typeof setTimeout> | undefined} */
let leaving;
document.addEventListener("visibilitychange", () => {
  clearTimeout(leaving);
  if (document.hidden) leaving = setTimeout(() => camera || asking || session.welcome === null || session.leave(), AWAY_MS);
  else if (session.phase === "away") session.connect();
});
setInterval(() => {
  if (camera && session.lastReading && session.phase === "live") figures.take(session.lastReading);
}, 1000);

session.token = sessionStorage.getItem(TOKEN) ?? "";
showTools();
session.connect();
