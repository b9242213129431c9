/**
 * Asks once for each name, whoever wants to know meanwhile, and remembers an answer for `keepMs` when it is a good one: what is not
 * there yet is asked for again, and so is what could not be asked.
 */
export function rememberGood<T>(
  isGood: (answer: T) => boolean,
  keepMs: number,
  now: () => number = () => performance.now(),
): (name: string, ask: () => Promise<T>) => Promise<T> {
  const answers = new Map<string, { answer: Promise<T>; until: number }>()
  return (name, ask) => {
    const known = answers.get(name)
    if (known !== undefined && now() < known.until) return known.answer
    const answer = ask()
    answers.set(name, { answer, until: now() + keepMs })
    const forget = () => {
      if (answers.get(name)?.answer === answer) answers.delete(name)
    }
    answer.then((found) => isGood(found) || forget(), forget)
    return answer
  }
}
