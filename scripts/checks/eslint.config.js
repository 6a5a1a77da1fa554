// Rules for the code of the pages of segtool serve. With eslint, @eslint/js and globals installed in FOLDER, outside the repository:
//   NODE_PATH=FOLDER/node_modules FOLDER/node_modules/.bin/eslint -c scripts/checks/eslint.config.js src/serve/pages

const js = require("@eslint/js");
const globals = require("globals");

module.exports = [
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: { eqeqeq: "error", "no-var": "error", "prefer-const": "error", curly: ["error", "multi-line"] },
  },
];
