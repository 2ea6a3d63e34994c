import { render } from "preact";
import { App } from "./app";
import { Compiler } from "./compiler";
import type { Catalog } from "./messages";
import { read } from "./state";
import "./style.css";
import "./bench.css";
import "./form.css";

declare const __DATA__: string;

const compiler = new Compiler();
const response = await fetch(`${__DATA__}/catalog.json`);
const catalog = (await response.json()) as Catalog;
const view = await read(location.hash);
const page = document.getElementById("page");
if (page) render(<App compiler={compiler} catalog={catalog} data={__DATA__} first={view} />, page);
