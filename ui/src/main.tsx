import { render } from "preact";
import { App } from "./app/app.tsx";
import { begin } from "./app/session.ts";
import { follow } from "./app/url.ts";
import "./style.css";

follow();
begin();
render(<App />, document.getElementById("app")!);
