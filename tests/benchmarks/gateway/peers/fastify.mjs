// Fastify as its own plugins make a gateway: @fastify/jwt, @fastify/rate-limit twice (Redis), @fastify/http-proxy.
import { randomUUID } from 'node:crypto'
import Fastify from 'fastify'
import httpProxy from '@fastify/http-proxy'
import jwt from '@fastify/jwt'
import rateLimit from '@fastify/rate-limit'
import Redis from 'ioredis'
import prom from 'prom-client'

const { PORT, BACKEND, REDIS_URL, JWT_SECRET, JWT_ISSUER, LIMIT } = process.env
const app = Fastify({ logger: true, genReqId: (request) => request.headers['x-request-id'] ?? randomUUID() })
const seconds = new prom.Histogram({ name: 'request_seconds', help: 'Time', labelNames: ['method', 'route', 'status'] })

await app.register(jwt, {
  secret: JWT_SECRET,
  verify: { algorithms: ['HS256'], allowedAud: 'heartguard', allowedIss: JWT_ISSUER, cache: true }
})
await app.register(rateLimit, { global: false, redis: new Redis(REDIS_URL), max: Number(LIMIT), timeWindow: 60000 })
const perAddress = app.createRateLimit({ keyGenerator: (request) => `ip:${request.ip}` })
const perUser = app.createRateLimit({ keyGenerator: (request) => `user:${request.user.sub}` })

app.addHook('onResponse', async (request, reply) => {
  seconds.labels(request.method, '/patients/:id', String(reply.statusCode)).observe(reply.elapsedTime / 1000)
})
await app.register(httpProxy, {
  upstream: BACKEND,
  prefix: '/patients',
  rewritePrefix: '/patients',
  preHandler: async (request, reply) => {
    if ((await perAddress(request)).isExceeded) return reply.code(429).send()
    await request.jwtVerify()
    if (!request.user.permissions.includes('patient:read')) return reply.code(403).send()
    if ((await perUser(request)).isExceeded) return reply.code(429).send()
  },
  replyOptions: {
    rewriteRequestHeaders: (request, headers) => ({ ...headers, 'x-request-id': request.id }),
    rewriteHeaders: (headers, request) => ({ ...headers, 'x-request-id': request.id })
  }
})
await app.listen({ host: '127.0.0.1', port: Number(PORT) })
