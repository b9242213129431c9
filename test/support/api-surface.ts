import { join } from 'node:path'
import ts from 'typescript'
import { root } from './run-node.ts'

/**
 * What a caller can see of each entry: every name with its kind and, for what can be called, its signature. Types are listed
 * with their members, so that a field that goes or changes is seen here.
 */
export function apiSurfaces(entries: readonly string[]): string[] {
  const files = entries.map((entry) => join(root, entry))
  const program = ts.createProgram(files, {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    strict: true,
    exactOptionalPropertyTypes: true,
    types: ['node'],
    skipLibCheck: true,
    noEmit: true,
  })
  const checker = program.getTypeChecker()
  return files.map((file) => {
    const module = checker.getSymbolAtLocation(program.getSourceFile(file) as ts.SourceFile) as ts.Symbol
    const lines = checker.getExportsOfModule(module).map((symbol) => describe(checker, symbol))
    return `${lines.sort().join('\n')}\n`
  })
}

function describe(checker: ts.TypeChecker, exported: ts.Symbol): string {
  const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported
  const name = exported.getName()
  if (symbol.flags & ts.SymbolFlags.Class)
    return `class ${name} ${members(checker, checker.getDeclaredTypeOfSymbol(symbol))}`
  if (symbol.flags & ts.SymbolFlags.Interface)
    return `interface ${name} ${members(checker, checker.getDeclaredTypeOfSymbol(symbol))}`
  if (symbol.flags & ts.SymbolFlags.TypeAlias)
    return `type ${name} = ${text(checker, checker.getDeclaredTypeOfSymbol(symbol), true)}`
  return `value ${name}: ${text(checker, checker.getTypeOfSymbol(symbol))}`
}

function members(checker: ts.TypeChecker, type: ts.Type): string {
  const own = type.getProperties().filter((property) => !property.getName().startsWith('__#'))
  const ours = own.filter((property) =>
    property.declarations?.some((node) => !node.getSourceFile().fileName.includes('/node_modules/')),
  )
  const fields = ours.map((property) => {
    const optional = property.flags & ts.SymbolFlags.Optional ? '?' : ''
    return `  ${property.getName()}${optional}: ${text(checker, checker.getTypeOfSymbol(property))}`
  })
  return `{\n${fields.sort().join('\n')}\n}`
}

function text(checker: ts.TypeChecker, type: ts.Type, inAlias = false): string {
  const flags = ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.UseAliasDefinedOutsideCurrentScope
  return checker.typeToString(type, undefined, inAlias ? flags | ts.TypeFormatFlags.InTypeAlias : flags)
}
