/** The part of window.localStorage that is used. Each call may throw: full, or forbidden. */
export interface Shelf {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** This browser's, asked for anew at each use: where it is forbidden, even looking at it throws. */
export function browserShelf(): Shelf {
  return {
    getItem: (key) => window.localStorage.getItem(key),
    setItem: (key, value) => window.localStorage.setItem(key, value),
    removeItem: (key) => window.localStorage.removeItem(key),
  };
}
