// The compiler as the page has it: a worker that is asked one question at a time.
import type { Answer, FromWorker, ToWorker } from "./messages";

export type Status =
  | { state: "loading"; progress: number }
  | { state: "ready" }
  | { state: "failed"; why: string };

interface Waiting {
  slot: string;
  question: string;
  done: (answer: Answer<unknown>) => void;
}

/** Questions wait in slots: a newer one takes the place of an older one that was not asked yet. */
export class Compiler {
  status: Status = { state: "loading", progress: 0 };
  private readonly worker: Worker;
  private readonly waiting: Waiting[] = [];
  private readonly listeners = new Set<(status: Status) => void>();
  private asked: Waiting | undefined;
  private id = 0;

  constructor() {
    this.worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    this.worker.addEventListener("message", (event: MessageEvent<FromWorker>) => {
      this.heard(event.data);
    });
    this.worker.addEventListener("error", (event) => {
      this.become({ state: "failed", why: event.message || "the worker did not start" });
    });
  }

  listen(listener: (status: Status) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  ask<T>(slot: string, question: object, done: (answer: Answer<T>) => void): () => void {
    const next: Waiting = {
      slot,
      question: JSON.stringify(question),
      done: done as (answer: Answer<unknown>) => void,
    };
    const at = this.waiting.findIndex((other) => other.slot === slot);
    if (at >= 0) this.waiting[at] = next;
    else this.waiting.push(next);
    queueMicrotask(() => this.next());
    return () => {
      const index = this.waiting.indexOf(next);
      if (index >= 0) this.waiting.splice(index, 1);
      next.done = () => undefined;
    };
  }

  private next(): void {
    if (this.asked || this.status.state === "failed") return;
    this.asked = this.waiting.shift();
    if (!this.asked) return;
    this.id += 1;
    this.worker.postMessage({ id: this.id, question: this.asked.question } satisfies ToWorker);
  }

  private heard(message: FromWorker): void {
    if ("progress" in message) {
      if (this.status.state === "loading") {
        this.become({ state: "loading", progress: message.progress });
      }
    } else if ("ready" in message) {
      this.become({ state: "ready" });
    } else if ("failure" in message) {
      this.become({ state: "failed", why: message.failure });
    } else {
      const asked = this.asked;
      this.asked = undefined;
      this.next();
      asked?.done(JSON.parse(message.text) as Answer<unknown>);
    }
  }

  private become(status: Status): void {
    this.status = status;
    for (const listener of this.listeners) listener(status);
  }
}
