import { type PlainError, toPlainError } from '../bytes/errors.ts'
import { type CodecName, loadCodecs } from '../bytes/unpack.ts'
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

const handlers: { [K in TaskKind]: (task: TaskTypes[K]['task']) => TaskTypes[K]['result'] } = {
  fill,
  load: () => undefined,
  pack,
  scan,
}

/** Does one task, in whichever thread this is. Never throws: errors lose their class when they cross threads. */
export async function runTask<K extends TaskKind>({ kind, task }: TaskMessage<K>): Promise<TaskAnswer<K>> {
  try {
    await loadCodecs(codecsOf(task))
    return { result: handlers[kind](task) }
  } catch (error) {
    return { error: toPlainError(error) }
  }
}

function codecsOf(task: TaskTypes[TaskKind]['task']): CodecName[] {
  const packing = 'packing' in task ? [task.packing.codec] : []
  return [...task.codecs.map(({ name }) => name), ...packing]
}
