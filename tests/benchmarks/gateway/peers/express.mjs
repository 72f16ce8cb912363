// Express as most put it together: express-rate-limit twice (Redis), jsonwebtoken, http-proxy-middleware, pino-http.
import { randomUUID } from 'node:crypto'
import http from 'node:http'
import express from 'express'
import { rateLimit } from 'express-rate-limit'
import { createProxyMiddleware } from 'http-proxy-middleware'
import Redis from 'ioredis'
import jwt from 'jsonwebtoken'
import pinoHttp from 'pino-http'
import prom from 'prom-client'
import { RedisStore } from 'rate-limit-redis'

const { PORT, BACKEND, REDIS_URL, JWT_SECRET, JWT_ISSUER, LIMIT } = process.env
const app = express()
const redis = new Redis(REDIS_URL)
const seconds = new prom.Histogram({ name: 'request_seconds', help: 'Time', labelNames: ['method', 'route', 'status'] })
const limiter = (prefix, keyGenerator) =>
  rateLimit({
    limit: Number(LIMIT),
    windowMs: 60000,
    keyGenerator,
    validate: false,
    store: new RedisStore({ prefix, sendCommand: (command, ...rest) => redis.call(command, ...rest) })
  })

app.use(pinoHttp({ genReqId: (request) => request.headers['x-request-id'] ?? randomUUID() }))
app.use((request, response, next) => {
  const stop = seconds.startTimer()
  response.setHeader('x-request-id', request.id)
  response.on('finish', () => stop({ method: request.method, route: '/patients/:id', status: response.statusCode }))
  next()
})
app.use(limiter('ip:', (request) => request.ip))
app.use((request, response, next) => {
  try {
    const token = (request.headers.authorization ?? '').replace(/^Bearer /, '')
    const options = { algorithms: ['HS256'], audience: 'heartguard', issuer: JWT_ISSUER }
    request.user = jwt.verify(token, JWT_SECRET, options)
  } catch {
    return response.sendStatus(401)
  }
  if (!request.user.permissions.includes('patient:read')) return response.sendStatus(403)
  next()
})
app.use(limiter('user:', (request) => request.user.sub))
app.use(createProxyMiddleware({
  target: BACKEND,
  changeOrigin: true,
  agent: new http.Agent({ keepAlive: true }),
  on: { proxyReq: (proxied, request) => proxied.setHeader('x-request-id', request.id) }
}))
app.listen(Number(PORT), '127.0.0.1')
