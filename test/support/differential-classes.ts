import { type Comparison, ROUNDED_DOWN, ROUNDED_UP, type Verdict } from './differential.ts'

/** A kind of disagreement with QEMU that is known, and why it is right to stay. */
export interface DifferenceClass {
  readonly verdict: Verdict
  readonly formats: readonly string[]
  /** Of the comparison's detail: our error where only QEMU reads, QEMU's where only we do. */
  readonly detail: RegExp
  readonly what: string
  readonly why: string
}

const all = ['qcow2', 'vhd', 'vmdk', 'vdi', 'vhdx'] as const

export const differenceClasses: readonly DifferenceClass[] = [
  {
    ...{ verdict: 'another content', formats: ['qcow2'], detail: new RegExp(ROUNDED_DOWN) },
    what: 'a disk whose size is no multiple of 512',
    why: "QEMU rounds the size down and loses the guest's last bytes; the field counts bytes, so all are given, and zeros up to the sector's end",
  },
  {
    ...{ verdict: 'another content', formats: ['vdi'], detail: new RegExp(ROUNDED_UP) },
    what: 'a disk whose size is no multiple of 512, and other bytes behind its end',
    why: "QEMU shows the last sector as the block has it; what lies behind the disk's end is not the guest's, so zeros are given",
  },
  {
    ...{ verdict: 'another content', formats: ['vhd'], detail: /bytes instead of/ },
    what: 'two footers that are whole and say different sizes',
    why: 'the one at the end is the footer, and the one in front its copy; QEMU takes the one in front. A warning says so',
  },
  {
    ...{ verdict: 'only QEMU reads it', formats: all, detail: /^truncated: / },
    what: "a table, block or cluster past the file's end",
    why: 'QEMU reads zeros where the file has ended; what is missing of an image must never become zeros, so it is refused',
  },
  {
    ...{ verdict: 'only QEMU reads it', formats: all, detail: /^unsafe-image: / },
    what: 'another file is named (in a qcow2 also one without a name)',
    why: 'QEMU opens a backing file that an image names, or takes a VHD that needs its parent for one that needs none; here the caller must allow it',
  },
  {
    ...{ verdict: 'only QEMU reads it', formats: all, detail: /^malformed: / },
    what: 'a field that the specification does not allow',
    why: 'a wrong checksum, half a sector, a line that means nothing, a place beyond 2^53: QEMU passes over them where it does not need them; an image that is damaged in one place may be in another',
  },
  {
    ...{ verdict: 'only QEMU reads it', formats: all, detail: /^(unsupported-|too-large: )/ },
    what: 'an unknown version or feature, or more than docs/limits.md allows',
    why: 'what a later version means is not known, so its bytes are not guessed',
  },
  {
    ...{ verdict: 'only QEMU reads it', formats: all, detail: /^corrupt-data: / },
    what: 'a packed unit that does not unpack as it should',
    why: 'QEMU takes what came out before the error, or passes over what is behind it',
  },
  {
    ...{ verdict: 'only we read it', formats: ['qcow2'], detail: /reference count|refcount|snapshot table|snapshot/i },
    what: 'refcounts or a table of snapshots that are damaged',
    why: 'they say nothing of where the active disk lies: a reader needs neither, and a copy without them is whole',
  },
  {
    ...{ verdict: 'only we read it', formats: ['qcow2'], detail: /Cluster allocation offset .* unaligned/ },
    what: 'a place off its cluster, of a cluster that reads as zeros',
    why: 'the place is not looked at: what the cluster reads as is certain',
  },
  {
    ...{
      verdict: 'only we read it',
      formats: ['qcow2'],
      detail: /data-file-raw|feature bit must not be set|header extension/i,
    },
    what: 'feature bits that contradict each other without an effect on the data',
    why: 'what the clusters hold is certain either way',
  },
  {
    ...{ verdict: 'only we read it', formats: ['vdi'], detail: /unsupported VDI image/ },
    what: 'blocks of another size than 1 MiB, an unknown parent UUID in a disk that is not differencing',
    why: 'VirtualBox allows other sizes; QEMU does not read them',
  },
  {
    ...{ verdict: 'only we read it', formats: ['vmdk'], detail: /Unsupported image type|File truncated|Invalid/ },
    what: 'a createType that QEMU does not know, or a flaw in a part that is not needed',
    why: 'the extents say where the bytes are, whatever the type is called',
  },
  {
    ...{ verdict: 'only we read it', formats: ['vhdx'], detail: /Operation not supported/ },
    what: 'logical sectors of 4096 bytes',
    why: 'the specification allows them; QEMU does not read them',
  },
  {
    ...{
      verdict: 'only we read it',
      formats: ['vhdx', 'vhd'],
      detail: /Invalid argument|invalid VPC image|Incorrect header checksum|Invalid header magic/,
    },
    what: 'one of two copies of a structure is damaged or names another place, and the other is whole',
    why: 'the specification keeps two for this: the whole one is taken',
  },
  {
    ...{
      verdict: 'only we read it',
      formats: ['vhd'],
      detail: /Max Table Entries too large|free_data_block_offset points after/,
    },
    what: 'a table of more entries than the disk has blocks, part of them past the end of the file',
    why: 'only the entries of the blocks are read, and they are there',
  },
]

/** The class that a disagreement belongs to; undefined for one that nobody has looked at. */
export function classOf({ verdict, detail, subject }: Comparison): DifferenceClass | undefined {
  return differenceClasses.find(
    (known) => known.verdict === verdict && known.formats.includes(subject.format) && known.detail.test(detail),
  )
}
