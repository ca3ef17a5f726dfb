"""The page of every report: what a browser shows, without anything to fetch."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ sentence }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.55 system-ui, sans-serif; color: #1f2430; background: #f6f7f9; margin: 0; }
main { max-width: 900px; margin: 0 auto; padding: 24px 20px 60px; }
header { border-radius: 10px; padding: 22px 26px; color: #fff; }
header.promote { background: #2f6b3a; } header.hold { background: #8a6412; }
header.reject, header.roll-back { background: #8f2d3a; }
h1 { font-size: 26px; margin: 0 0 6px; } header p { margin: 0; font-size: 17px; }
h2 { font-size: 19px; margin: 16px 0 8px; }
section { background: #fff; border-radius: 10px; padding: 6px 24px 20px; margin-top: 18px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 7px 12px 7px 0; border-bottom: 1px solid #e4e7ec; font-size: 15px; }
th { color: #5a6473; font-weight: 600; }
td.better { color: #2f6b3a; font-weight: 600; }
td.worse { color: #8f2d3a; font-weight: 600; }
img { max-width: 100%; display: block; margin: 6px 0; } figure { margin: 22px 0 0; }
figcaption, .note { color: #5a6473; font-size: 14px; }
pre { background: #f0f2f5; padding: 12px; overflow-x: auto; font-size: 13px; } td.fact { overflow-wrap: anywhere; }
th { vertical-align: top; } .facts th { white-space: nowrap; } .wide { overflow-x: auto; }
</style></head><body><main>
<header class="{{ verdict }}"><h1>{{ sentence }}</h1><p>{{ reason }}</p></header>
{% for section in sections %}
<section><h2>{{ section.title }}</h2>
{% if section.header %}
<div class="wide"><table><tr>{% for name in section.header %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in section.rows %}
<tr>{% for cell in row %}{% set toned = loop.index0 == section.toned % loop.length %}
<td class="{{ tones.get(cell, '') if toned else '' }}">{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{% else %}
{% for row in section.rows %}
<p>{{ row[0] }}</p>
{% endfor %}
{% endif %}
{% if section.note %}<p class="note">{{ section.note }}</p>{% endif %}</section>
{% endfor %}
{% if pictures %}
<section><h2>In pictures</h2>
{% for name, caption, source in pictures %}
<figure><img alt="{{ name }}" src="{{ source }}"><figcaption>{{ caption }}</figcaption></figure>
{% endfor %}</section>
{% endif %}
<section><h2>Words</h2>
<table class="facts">{% for word, meaning in words.items() %}<tr><th>{{ word }}</th><td>{{ meaning }}</td></tr>
{% endfor %}</table></section>
<section><h2>What it rests on</h2>
<table class="facts">{% for name, value in facts.items() %}<tr><th>{{ name }}</th><td class="fact">{{ value }}</td></tr>
{% endfor %}</table>
<details><summary class="note">the whole configuration</summary><pre>{{ config }}</pre></details></section>
</main></body></html>
"""
