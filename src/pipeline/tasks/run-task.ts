import { type PlainError, toPlainError } from '../../bytes/errors.ts'
import type { Compressor } from '../../bytes/pack.ts'
import { type CodecName, loadCodecs } from '../../bytes/unpack.ts'
import { fill } from './fill.ts'
import { pack } from './pack.ts'
import { scan } from './scan.ts'
import type { TaskKind, TaskTypes } from './tasks.ts'

export interface TaskMessage<K extends TaskKind = TaskKind> {
  readonly kind: K
  readonly task: TaskTypes[K]['task']
}
export type TaskAnswer<K extends TaskKind> =
  | { readonly result: TaskTypes[K]['result'] }
  | { readonly error: PlainError }

type Handler<K extends TaskKind> = (
  task: TaskTypes[K]['task'],
) => TaskTypes[K]['result'] | Promise<TaskTypes[K]['result']>

/** What only some programs do is loaded when it is first asked for: every thread pays for what it loads. */
const handlers: { [K in TaskKind]: Handler<K> } = {
  compare: async (task) => (await import('./read-tasks.ts')).compare(task),
  digest: async (task) => (await import('./read-tasks.ts')).digest(task),
  fill,
  load: () => undefined,
  pack,
  scan,
}

/** Does one task, in whichever thread this is. Never throws: errors lose their class when they cross threads. */
export async function runTask<K extends TaskKind>({ kind, task }: TaskMessage<K>): Promise<TaskAnswer<K>> {
  try {
    await loadCodecs(codecsOf(task))
    return { result: await handlers[kind](task) }
  } catch (error) {
    return { error: toPlainError(error) }
  }
}

function codecsOf(task: TaskTypes[TaskKind]['task']): (CodecName | Compressor)[] {
  const packing = 'packing' in task ? [task.packing.codec, task.packing.compressor ?? 'zlib'] : []
  return [...task.codecs.map(({ name }) => name), ...packing]
}
