import { render } from "preact";
import { App } from "./app/app.tsx";
import { begin } from "./app/session.ts";
import { follow } from "./app/url.ts";
import { COLOURS } from "./parts/colours.ts";
import "./style.css";

// For who wants to know which colour is which number: 256 steps of red, green and blue.
Object.assign(globalThis, { girih: { colours: Array.from(COLOURS) } });

follow();
begin();
render(<App />, document.getElementById("app")!);
