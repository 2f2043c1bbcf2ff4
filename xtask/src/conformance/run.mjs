// Runs the suite against the address that is given and prints one line per case: suite, case, kind, verdict, what went
// wrong and the case's name, with tabs between them. It is put into the folder of the suite's package, from where it
// takes the suite's own runner and its own rule for verdicts.
import { runTests, getResults } from './client/runner.mjs'
import { determineTestResult } from './lib/display.mjs'
import suites from './tests/index.mjs'
import fetch from 'node-fetch'

const line = text => String(text).replace(/\s+/g, ' ')

await runTests(suites, fetch, false, process.argv[2])
const results = getResults()
for (const suite of suites) {
  for (const test of suite.tests.filter(test => results[test.id] !== undefined)) {
    const result = results[test.id]
    const verdict = determineTestResult(suites, test.id, results)[2]
    const wrong = result === true ? '' : line(result[1])
    console.log([suite.id, test.id, test.kind || 'required', verdict, wrong, line(test.name)].join('\t'))
  }
}
