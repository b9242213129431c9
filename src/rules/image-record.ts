/** What a catalogue knows of an image: its id, its name, and attributes of whatever type somebody once gave them. */
export interface ImageRecord {
  readonly id: string
  readonly name: string
  readonly [attribute: string]: unknown
}
