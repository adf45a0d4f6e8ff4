/** The form for the server's token. */

import { showServerState } from "./announce.js";
import * as api from "./api.js";
import { byId, setText } from "./dom.js";
import { ApiError, sentence } from "./errors.js";

/** Show the form of the token. */
export function askToken() {
  showServerState("off", "Token needed");
  const dialog = byId("token-dialog");
  if (!dialog.open) dialog.showModal();
}

/**
 * Listen to the form.
 * @param {() => Promise<void>} accepted called once the server took the token
 */
export function listenForToken(accepted) {
  byId("token-form").addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    const error = byId("token-error");
    api.keepToken(byId("token-text").value);
    try {
      await api.info();
    } catch (failure) {
      error.hidden = false;
      setText(
        error,
        failure instanceof ApiError && failure.status === 401
          ? "The server does not accept this token. Check the file and enter it again."
          : sentence(failure),
      );
      byId("token-text").focus();
      return;
    }
    error.hidden = true;
    byId("token-text").value = "";
    byId("token-dialog").close();
    await accepted();
  });
}
