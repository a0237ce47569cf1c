// @ts-check
/** Every failure as a sentence, and the next step. Nothing here knows the page or the network. */

/**
 * @typedef {object} Problem
 * @property {string} title what happened
 * @property {string} next what to do
 */

/**
 * What getUserMedia said.
 * @param {{name?: string, message?: string}} error
 * @returns {Problem}
 */
export function cameraProblem(error) {
  const system = /system/i.test(error.message ?? "");
  switch (error.name) {
    case "NotAllowedError":
    case "PermissionDeniedError":
      return system
        ? {
            title: "The system keeps the camera from this browser.",
            next: "Allow it in the system’s privacy settings under Camera, then try again.",
          }
        : {
            title: "The camera was not allowed.",
            next: "Press the camera or lock sign beside the address, allow the camera for this page, then try again.",
          };
    case "NotFoundError":
    case "DevicesNotFoundError":
      return {
        title: "No camera was found.",
        next: "Plug one in or switch it on (some laptops have a shutter or a key for it), then try again.",
      };
    case "NotReadableError":
    case "TrackStartError":
      return {
        title: "The camera is in use by another program, or did not start.",
        next: "Close other programs that show the camera, or choose another one under Camera, then try again.",
      };
    case "OverconstrainedError":
      return {
        title: "The chosen camera is not there any more.",
        next: "Choose another one under Camera, then try again.",
      };
    case "AbortError":
      return {
        title: "The camera stopped while it was starting.",
        next: "Try again; if that does not help, unplug it and plug it in again.",
      };
    case "SecurityError":
    case "InsecureContextError":
      return {
        title: "Browsers give the camera only to safe addresses.",
        next: "Open this page over https, or as http://localhost on the machine that runs the server.",
      };
    case "CameraEnded":
      return {
        title: "The camera stopped: it was unplugged, or another program took it.",
        next: "The avatar is at rest. Plug the camera in again, then try again.",
      };
    default:
      return {
        title: "The camera could not be opened.",
        next: `Try again, or choose another one. The browser said: ${error.name ?? "nothing"}.`,
      };
  }
}

/** @type {Record<string, Problem>} what the server may say, by the codes of docs/protocol.md */
const SERVER = {
  token: {
    title: "This server asks for a token.",
    next: "Type it under Access. The person who started the server has it.",
  },
  busy: {
    title: "The server is full.",
    next: "This page tries again by itself. Somebody who stops makes room at once.",
  },
  stopping: {
    title: "The server is being stopped or restarted.",
    next: "This page connects again by itself once it is back.",
  },
  rate: {
    title: "That was too much at once for the server.",
    next: "This page waits a little and then connects again by itself.",
  },
  late: {
    title: "The connection was too slow to begin a session.",
    next: "Try again, or use a better network.",
  },
  bad_message: {
    title: "Page and server do not understand each other.",
    next: "Load the page again: it is older or newer than the server.",
  },
  too_big: {
    title: "This browser’s offer of video is too long for the server.",
    next: "Load the page again; if that does not help, use another browser.",
  },
  bad_offer: {
    title: "Browser and server found no kind of video that both know.",
    next: "Use a present Chrome, Edge, Firefox or Safari: all of them know VP8.",
  },
  unknown_avatar: {
    title: "That avatar is not on the server any more.",
    next: "Pick another one, or load the page again to see the present list.",
  },
  picture_size: {
    title: "The pictures of this camera are too large for the server.",
    next: "Choose another camera, or a resolution of 1920 × 1080 at most in its settings.",
  },
  failed: {
    title: "Something went wrong on the server, and this session ended.",
    next: "Try again. If it comes back, whoever runs the server finds the reason in its log.",
  },
};

/**
 * @param {{code?: string, message?: string, hint?: string}} error as in docs/protocol.md, of the socket or an upload
 * @returns {Problem}
 */
export function serverProblem({ code = "", message = "", hint = "" }) {
  return (
    SERVER[code] ?? {
      title: sentence(message) || "The server refused.",
      next: sentence(hint) || "Try again, or load the page again.",
    }
  );
}

/** The server's words begin small and end bare, as a terminal has them. @param {string} words */
export function sentence(words) {
  const text = words.trim();
  if (!text) return "";
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

/** The path of the media, and what was there before it. */
export const PROBLEMS = /** @type {const} */ ({
  unreachable: {
    title: "The server does not answer.",
    next: "Is “lia-live serve” still running, and is this machine online? This page keeps trying by itself.",
  },
  noPath: {
    title: "The picture finds no way between this browser and the server.",
    next: "A firewall or VPN may be in between: try another network, or have the server started with a TURN relay (--ice-servers).",
  },
  noPicture: {
    title: "The server is connected but sends no picture.",
    next: "Try again. If it stays like this, whoever runs the server finds the reason in its log.",
  },
  noWebRTC: {
    title: "This browser cannot send live video.",
    next: "Use a present Chrome, Edge, Firefox or Safari, and switch off extensions that block WebRTC.",
  },
  noAvatar: {
    title: "There is no avatar on this server yet.",
    next: "Start it with --avatars and a folder of portraits, or --allow-upload to add one here.",
  },
});

/** What can go wrong with a file, as one line beside the control. */
export const LINES = {
  notAPicture: "That is not a picture this page can use: take a JPEG, PNG or WebP file.",
  tooBig: (/** @type {number} */ megabytes) => `That file is too big: at most ${megabytes} MB.`,
  notSettings: "That file does not hold saved directions of lia-live.",
  recordingSaved: "The recording was saved to your downloads.",
  recordingEnded: "The connection broke, so the recording ended; what there was has been saved.",
  cannotRecord: "This browser cannot record; take Chrome, Edge, Firefox or Safari 14 and later.",
};

/**
 * How good a neutral face is, in words.
 * @param {number} score in [0, 1]
 */
export function neutralWords(score) {
  if (score >= 0.7) return "Good neutral face.";
  if (score >= 0.4) return "Usable neutral face; calibrate again, looking straight ahead, for a better one.";
  return "Poor neutral face: look straight ahead with a closed mouth and calibrate again.";
}
