// What components share: the compiler, its answers, and the steps that are pointed at.
import { createContext } from "preact";
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import type { Compiler } from "./compiler";
import type { Answer, Problem } from "./messages";

export const CompilerContext = createContext<Compiler | null>(null);

export interface Asked<T> {
  value: T | undefined; // the last that there was, also while a problem stands
  problems: Problem[];
  failure: string;
  waiting: boolean;
}

/** The answer to a question, asked again whenever its text changes; null asks nothing. */
export function useAnswer<T>(slot: string, question: object | null): Asked<T> {
  const compiler = useContext(CompilerContext);
  const [asked, become] = useState<Asked<T>>({
    value: undefined,
    problems: [],
    failure: "",
    waiting: question !== null,
  });
  const text = question && JSON.stringify(question);
  useEffect(() => {
    if (!compiler || text === null) return;
    become((before) => ({ ...before, waiting: true }));
    return compiler.ask<T>(slot, JSON.parse(text) as object, (answer: Answer<T>) => {
      become((before) => ({
        value: answer.answer ?? before.value,
        problems: answer.problems ?? [],
        failure: answer.failure ?? "",
        waiting: false,
      }));
    });
  }, [compiler, slot, text]);
  return asked;
}

/** Copies a text; the word on the button says for a moment that it has. */
export function useCopy(text: string): [string, () => void] {
  const [word, become] = useState("Copy");
  const timer = useRef(0);
  const copy = (): void => {
    navigator.clipboard.writeText(text).then(
      () => become("Copied"),
      () => become("Not allowed"),
    );
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => become("Copy"), 1600);
  };
  return [word, copy];
}

export function download(name: string, text: string, type = "text/plain"): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export const grouped = (value: number): string => value.toLocaleString("en-US");

/** 55,453,441 as `55.5 M`. */
export function short(value: number): string {
  const units = ["", " k", " M", " G", " T", " P"];
  let unit = 0;
  let rest = value;
  while (rest >= 999.5 && unit < units.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  return `${rest >= 100 || unit === 0 ? Math.round(rest) : rest.toPrecision(3)}${units[unit] ?? ""}`;
}

/** Bytes as people say them: `1.5 GiB`. */
export function memory(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const unit = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  const rest = bytes / 1024 ** unit;
  return `${rest >= 100 || unit === 0 ? Math.round(rest) : rest.toPrecision(3)} ${units[unit] ?? ""}`;
}
