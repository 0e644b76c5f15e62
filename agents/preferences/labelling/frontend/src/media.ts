// Pictures of clips, fetched and decoded before they are needed.

export interface Picture {
  readonly bitmap: ImageBitmap;
}

type Load = (address: string) => Promise<Blob>;

/** Decoded pictures by address. The least recently wanted go first: each takes some 16 MB. */
export class Media {
  private readonly ready = new Map<string, ImageBitmap>();
  private readonly loading = new Map<string, Promise<ImageBitmap>>();

  constructor(
    private readonly load: Load,
    private readonly capacity = 14,
  ) {}

  /** The picture, if it can be drawn at once. */
  get(address: string): ImageBitmap | null {
    const bitmap = this.ready.get(address);
    if (bitmap === undefined) return null;
    this.ready.delete(address);
    this.ready.set(address, bitmap); // now the most recent
    return bitmap;
  }

  /** Fetches and decodes it, once however often it is asked for; rejects where it is gone or no picture. */
  want(address: string): Promise<ImageBitmap> {
    const there = this.get(address);
    if (there !== null) return Promise.resolve(there);
    const known = this.loading.get(address);
    if (known !== undefined) return known;
    const promise = this.fetch(address).finally(() => this.loading.delete(address));
    this.loading.set(address, promise);
    return promise;
  }

  private async fetch(address: string): Promise<ImageBitmap> {
    const bitmap = await createImageBitmap(await this.load(address));
    this.ready.set(address, bitmap);
    for (const oldest of this.ready.keys()) {
      if (this.ready.size <= this.capacity) break;
      this.ready.get(oldest)?.close();
      this.ready.delete(oldest);
    }
    return bitmap;
  }
}
