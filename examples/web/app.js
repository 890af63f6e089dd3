'use strict';

const os = require('os');
const express = require('express');

const port = process.env.PORT || 8080;
const app = express();
let visits = 0;

app.set('view engine', 'ejs');
app.set('views', `${__dirname}/views`);
app.disable('x-powered-by');

app.get('/', (request, response) => {
  visits += 1;
  response.render('home', { host: os.hostname(), node: process.version, visits });
});

app.get('/healthz', (request, response) => response.type('text').send('well\n'));

const server = app.listen(port, () => console.log(`listening on port ${port}`));

// Process 1 of a container has no default action for signals: without this `docker stop` waits its ten seconds.
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => server.close(() => process.exit(0)));
}
