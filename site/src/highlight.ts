// Python as HTML, line by line: each line closes the spans that it opens.
import hljs from "highlight.js/lib/core";
import python from "highlight.js/lib/languages/python";

hljs.registerLanguage("python", python);

export function lines(text: string): string[] {
  const open: string[] = [];
  return hljs
    .highlight(text.replace(/\n$/, ""), { language: "python" })
    .value.split("\n")
    .map((line) => {
      const before = open.join("");
      for (const tag of line.matchAll(/<span[^>]*>|<\/span>/g)) {
        if (tag[0] === "</span>") open.pop();
        else open.push(tag[0]);
      }
      return before + line + "</span>".repeat(open.length);
    });
}

export function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
