// One tab of a person answers at a time: the one that was opened or chosen last.

export class Tabs {
  private readonly channel: BroadcastChannel;
  private holds = false;

  /** lost: another tab of the same person took over. */
  constructor(
    name: string,
    private readonly self: string,
    lost: () => void,
  ) {
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = (event: MessageEvent<unknown>) => {
      if (!this.holds || event.data === this.self) return;
      this.holds = false;
      lost();
    };
  }

  get active(): boolean {
    return this.holds;
  }

  /** This tab answers from now on; the others stop. */
  claim(): void {
    this.holds = true;
    this.channel.postMessage(this.self);
  }
}
