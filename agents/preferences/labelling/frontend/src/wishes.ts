// What a person set in this browser.
import { SPEEDS } from "./clock.js";
import type { Shelf } from "./shelf.js";

export class Wishes {
  constructor(private readonly shelf: Shelf) {}

  get opinion(): boolean {
    return this.read("opinion") === "on";
  }

  set opinion(on: boolean) {
    this.write("opinion", on ? "on" : "off");
  }

  get speed(): number {
    const stored = Number(this.read("speed"));
    return SPEEDS.find((speed) => speed === stored) ?? 1;
  }

  set speed(speed: number) {
    this.write("speed", String(speed));
  }

  private read(name: string): string | null {
    try {
      return this.shelf.getItem(`surefoot:${name}`);
    } catch {
      return null;
    }
  }

  private write(name: string, value: string): void {
    try {
      this.shelf.setItem(`surefoot:${name}`, value);
    } catch {
      // A browser that keeps nothing asks again the next time.
    }
  }
}
