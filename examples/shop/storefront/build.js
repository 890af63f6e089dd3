'use strict';

// Makes build/index.html of goods.md.
const fs = require('fs');
const { marked } = require('marked');

const page = (content) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>The ship chandler</title>
<style>
body { margin: 0 auto; max-width: 44rem; padding: 2rem; font-family: serif; background: #f6f1e4; color: #2b2118; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .5rem; border-bottom: 1px solid #c9b98f; text-align: left; }
</style>
</head>
<body>
${content}
</body>
</html>
`;

fs.mkdirSync('build', { recursive: true });
fs.writeFileSync('build/index.html', page(marked.parse(fs.readFileSync('goods.md', 'utf8'))));
