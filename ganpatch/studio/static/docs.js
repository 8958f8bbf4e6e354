// The routes, read from openapi.json: no page of another host is needed to show them.

import { $, make } from "./dom.js";

const token = new URLSearchParams(location.search).get("token") ?? "";
const schema = await (await fetch("openapi.json", { headers: { "x-ganpatch-token": token } })).json();
const nameOf = (part) => part?.$ref?.split("/").at(-1) ?? part?.title ?? part?.type ?? "";
const bodyOf = (route) => route.requestBody && nameOf(Object.values(route.requestBody.content)[0].schema);

$("docs").append(
  make("h1", {}, schema.info.title, make("small", {}, schema.info.version)),
  make("p", {}, "Every request carries the token of the printed address, as ?token=… or in the header x-ganpatch-token. The schema is openapi.json."),
  ...Object.entries(schema.paths).flatMap(([path, routes]) => Object.entries(routes).flatMap(([method, route]) => [
    make("h2", {}, `${method.toUpperCase()} ${path}`),
    make("p", {}, route.description ?? route.summary ?? ""),
    ...(route.parameters ?? []).map((one) => make("p", {}, `${one.in}: ${one.name} (${nameOf(one.schema)})`)),
    ...(bodyOf(route) ? [make("p", {}, `body: ${bodyOf(route)}`)] : []),
  ])),
  make("h2", {}, "What they accept and return"),
  ...Object.entries(schema.components.schemas).map(([name, one]) => make("details", {}, make("summary", {}, name), make("pre", {}, JSON.stringify(one, null, 1)))),
);
