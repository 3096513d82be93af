// The API, as every other client uses it too.

export class Failure extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

// call asks, and gives what is answered; a Failure says what the daemon says.
export async function call(method, path, body, headers = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers }, credentials: "same-origin", cache: "no-store", redirect: "error" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Failure(0, "The daemon does not answer.");
  }
  const text = await response.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { /* not ours */ }
  if (!response.ok) throw new Failure(response.status, value && value.error ? value.error : `The daemon answers ${response.status} ${response.statusText}.`);
  return value;
}

export const get = (path) => call("GET", path);
export const post = (path, body) => call("POST", path, body);
export const part = encodeURIComponent;
