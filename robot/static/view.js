// The live view. State and pictures are asked for one at a time, so a slow line gets fewer of them.
// The emergency stop is sent again and again until the guard itself says that it is pressed.

const STATE_MS = 200
const LOST_MS = 1500
const PICTURE_MS = 100 // between two pictures: more cost the robot and tell a person nothing
const $ = (id) => document.getElementById(id)
const canvas = $('picture')
const pen = canvas.getContext('2d')
const pause = (ms) => new Promise((done) => setTimeout(done, ms))

let ways = { number: -1, lines: [], plan: [], cost: null }
let bitmap = null
let heard = -Infinity
let pressing = false
let state = null

async function ask(path, options = {}) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(options.ms ?? 3000), ...options })
  if (!answer.ok) throw new Error(answer.status === 401 ? 'this page has no key: open the printed link' : `${answer.status}`)
  return answer
}

async function watchState() {
  for (;;) {
    try {
      const answer = await ask(`/api/state?seen=${ways.number}`)
      state = await answer.json()
      heard = performance.now()
      if (state.ways) {
        ways = state.ways
        draw()
      }
      show(state)
    } catch (error) {
      $('line').title = String(error)
    }
    if (performance.now() - heard > LOST_MS) lost()
    await pause(STATE_MS)
  }
}

async function watchPictures() {
  let after = 0
  for (;;) {
    try {
      const answer = await ask(`/api/picture?after=${after}`, { ms: 20000 })
      after = Number(answer.headers.get('X-Picture') ?? after)
      if (answer.status === 200) {
        const next = await createImageBitmap(await answer.blob())
        bitmap?.close()
        bitmap = next
        draw()
        document.body.dataset.picture = after
        await pause(PICTURE_MS)
      }
    } catch {
      after = 0 // the server may have begun anew
      await pause(500)
    }
  }
}

function draw() {
  if (bitmap) {
    const width = Math.max(bitmap.width, 960)
    const height = Math.round((width * bitmap.height) / bitmap.width)
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height })
    pen.drawImage(bitmap, 0, 0, width, height)
  }
  const fresh = state?.driver?.alive
  if (!fresh) return
  pen.lineJoin = pen.lineCap = 'round'
  for (const [colour, line] of ways.lines) stroke(line, colour, canvas.width / 240)
  for (const line of ways.plan) stroke(line, '#0f0f0f', canvas.width / 70)
  for (const line of ways.plan) stroke(line, '#ffffff', canvas.width / 140)
  canvas.dataset.ways = ways.lines.length
}

function stroke(line, colour, width) {
  pen.strokeStyle = colour
  pen.lineWidth = width
  pen.beginPath()
  for (let k = 0; k < line.length; k += 2) {
    pen.lineTo((line[k] * canvas.width) / 1000, (line[k + 1] * canvas.height) / 1000)
  }
  pen.stroke()
}

function show({ name, guard, speed, speed_cap, ages, driver, picture, trouble }) {
  $('name').textContent = name
  $('line').textContent = 'connected'
  const verdict = !guard.alive
    ? ['stopped', 'The guard is silent', 'No guard speaks: is `surefoot robot guard` running? The base must stop by itself.']
    : guard.estop
      ? ['stopped', 'Emergency stop pressed', 'Release it, then arm.']
      : !guard.armed
        ? ['disarmed', 'Disarmed', guard.reason]
        : guard.reason
          ? ['held', 'Armed, held', guard.reason]
          : ['driving', driver.shadow ? 'Armed, shadow' : 'Armed, may drive', driver.alive ? driver.words : '']
  document.body.dataset.state = verdict[0]
  $('verdict').textContent = verdict[1]
  $('reason').textContent = verdict[2] ?? ''
  document.body.dataset.estop = guard.estop
  if (guard.estop) pressing = false
  $('stop').dataset.pressing = pressing
  $('stop-words').textContent = guard.estop ? 'STOPPED' : pressing ? 'STOPPING…' : 'EMERGENCY STOP'
  $('arm').disabled = guard.armed || guard.estop || !guard.alive
  $('disarm').disabled = !guard.armed
  $('release').disabled = !guard.estop
  $('speed').title = `the cap is ${speed_cap.toFixed(1)} m/s`
  $('speed').textContent = speed ? `${speed[0].toFixed(2)} m/s` : '–'
  $('turn').textContent = speed ? `${speed[1].toFixed(2)} rad/s` : '–'
  $('wish').textContent = driver.action ? `${driver.action[1].toFixed(2)} m/s` : '–'
  const [number, count] = driver.waypoint ?? [1, 1]
  const which = count > 1 ? ` (${number} of ${count})` : ''
  $('goal').textContent = driver.distance == null ? '–' : `${driver.distance.toFixed(1)} m${which}`
  $('driver').textContent = driver.words ? `driver: ${driver.words}` : 'no driver: surefoot drive MODEL'
  const expected = Object.entries(driver.events ?? {})
  bars($('events'), expected.map(([event, p]) => [event, p, `${Math.round(100 * p)} %`, p > 0.5]))
  bars($('ages'), ages.map(({ name, age, limit }) => [
    name, age == null ? 1 : age / limit, age == null ? 'silent' : `${age.toFixed(2)} s`, age == null || age > limit,
  ]))
  $('trouble').hidden = !trouble
  $('trouble').textContent = trouble
  $('rate').textContent = `camera ${picture.rate.toFixed(0)} Hz`
  $('low').textContent = ways.cost ? ways.cost[0].toFixed(2) : ''
  $('high').textContent = ways.cost ? ways.cost[1].toFixed(2) : ''
}

function bars(place, rows) {
  place.replaceChildren(...rows.map(([name, share, words, bad]) => {
    const row = document.createElement('div')
    row.className = 'bar'
    row.dataset.bad = bad
    const [label, track, value] = ['span', 'span', 'span'].map((kind) => document.createElement(kind))
    const fill = document.createElement('b')
    fill.style.width = `${Math.min(100, Math.max(2, 100 * share))}%`
    track.className = 'track'
    track.append(fill)
    label.textContent = name
    value.textContent = words
    row.append(label, track, value)
    return row
  }))
}

function lost() {
  document.body.dataset.state = 'away'
  $('line').textContent = 'no connection'
  $('verdict').textContent = 'No connection'
  $('reason').textContent = 'This page cannot stop the robot now. Use the button on the robot.'
}

function say(words, bad = false) {
  $('answer').textContent = words
  $('answer').dataset.bad = bad
}

async function stop() {
  if (pressing) return
  pressing = true
  $('stop').dataset.pressing = true
  $('stop-words').textContent = 'STOPPING…'
  say('')
  while (pressing) {
    try {
      const answer = await ask('/api/estop?pressed=true', { method: 'POST', ms: 1000 })
      const { listeners } = await answer.json()
      if (!listeners) say('pressed, but nobody listens: is the guard running?', true)
    } catch (error) {
      say(`not sent yet (${error.message}), trying again`, true)
    }
    await pause(250)
  }
}

async function release() {
  pressing = false
  try {
    await ask('/api/estop?pressed=false', { method: 'POST' })
    say('released')
  } catch (error) {
    say(`not released: ${error.message}`, true)
  }
}

async function arm(on) {
  say(on ? 'asking the guard…' : 'disarming…')
  try {
    const answer = await ask(`/api/arm?arm=${on}`, { method: 'POST', ms: 10000 })
    const { done, words } = await answer.json()
    say(words, !done)
  } catch (error) {
    say(`no answer: ${error.message}`, true)
  }
}

$('stop').addEventListener('pointerdown', stop)
$('stop').addEventListener('click', stop)
$('release').addEventListener('click', release)
$('arm').addEventListener('click', () => arm(true))
$('disarm').addEventListener('click', () => arm(false))
// Space would also press the button that has the focus, such as Arm.
for (const kind of ['keydown', 'keyup']) {
  window.addEventListener(kind, (event) => {
    if (event.code !== 'Space' && event.code !== 'Escape') return
    event.preventDefault()
    event.stopPropagation()
    if (kind === 'keydown' && !event.repeat) stop()
  }, true)
}

watchState()
watchPictures()
