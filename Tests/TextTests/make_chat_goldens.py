"""Renders chat templates in the styles of well-known families, on many conversations, with transformers' own renderer.

Needs transformers==5.23.0. Run: TZ=UTC python make_chat_goldens.py   (writes Goldens/Chat/golden.json)

The file: "templates" by name, "conversations" by name ({messages, tools?, context?, prompt}), "cases": [template,
conversation, text or null (the renderer raised)], "snippets": [template, text or null].
"""
import datetime
import json
import pathlib

import transformers.utils.chat_template_utils as utils

OUT = pathlib.Path(__file__).parent / "Goldens" / "Chat"


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 6, 15, 12, 0, 0)


utils.datetime = Clock

T = {}
T["chatml"] = """{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
T["chatml_default_system"] = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are a careful helper.<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + message['content']}}{% if (loop.last and add_generation_prompt) or not loop.last %}{{ '<|im_end|>' + '\\n'}}{% endif %}{% endfor %}
{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
T["llama2"] = """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Turns must go user, assistant, user, assistant') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""
T["llama3"] = """{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
T["llama3_tools"] = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system message goes out first; #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: sandbox\\n" }}
{%- endif %}
{{- "Knowledge ends: December 2023\\n" }}
{{- "Today: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {{- "You can call these functions. Answer with JSON." }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}

{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("No first user message for the tools to go in!") }}
{%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {{- "Use these functions if they help; do not use variables.\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}

{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("One call at a time!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
T["mistral"] = """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate: user/assistant/user/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant!') }}{% endif %}{% endfor %}"""
T["mistral_tools"] = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}

{#- Roles alternate once calls and results are left out -#}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("user and assistant must take turns") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
            {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Ids of calls have nine characters!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Unknown role") }}
    {%- endif %}
{%- endfor %}
"""
T["gemma"] = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Turns alternate') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"""
T["gemma3"] = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
"""
T["phi3"] = """{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""
T["phi4"] = """{% for message in messages %}{% if (message['role'] == 'system') %}{{'<|im_start|>system<|im_sep|>' + message['content'] + '<|im_end|>'}}{% elif (message['role'] == 'user') %}{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>'}}{% elif (message['role'] == 'assistant') %}{% generation %}{{'<|im_start|>assistant<|im_sep|>' + message['content'] + '<|im_end|>'}}{% endgeneration %}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"""
T["qwen25"] = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are a friendly test.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nFunctions are listed in <tools></tools>:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nAnswer with <tool_call>\\n{\\"name\\": <name>, \\"arguments\\": <object>}\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a friendly test.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
T["qwen3"] = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' ~ content ~ '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
T["deepseek"] = """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='', is_first_sp=true) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and 'tool_calls' in message %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}{{'<｜Assistant｜><｜calls▁begin｜>' + tool['type'] + '<｜sep｜>' + tool['function']['name'] + '\\n```json\\n' + tool['function']['arguments']|tojson + '\\n```'}}{%- set ns.is_first = true -%}{%- else %}{{'\\n' + tool['function']['name']}}{%- endif %}{%- endfor %}{{'<｜calls▁end｜>'}}{%- endif %}{%- if message['role'] == 'assistant' and 'tool_calls' not in message %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<｜outputs｜>' + message['content']|string}}{%- set ns.is_output_first = false %}{%- else %}{{'\\n' + message['content']|string}}{%- endif %}{%- endif %}{%- endfor -%}{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}"""
T["zephyr"] = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}
"""
T["command_r"] = """{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- set system_message = messages[0]['content'] -%}{%- set loop_messages = messages[1:] -%}{%- else -%}{%- set system_message = '# Task\\nBe useful.' -%}{%- set loop_messages = messages -%}{%- endif -%}{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {
    "string": "str",
    "number": "float",
    "integer": "int",
    "boolean": "bool"
} %}
{%- if basic_type_map[json_spec.type] is defined %}
    {{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "List[" + json_to_python_type(json_spec.items) + "]"}}
{%- elif json_spec.type == "object" %}
    {{- "Dict[str, " + json_to_python_type(json_spec.additionalProperties) + ']'}}
{%- elif json_spec.type is iterable %}
    {{- "Union[" }}
    {%- for t in json_spec.type %}
      {{- json_to_python_type({"type": t}) }}
      {%- if not loop.last %}
        {{- "," }}
    {%- endif %}
    {%- endfor %}
    {{- "]" }}
{%- else %}
    {{- "Any" }}
{%- endif %}
{%- endmacro %}
{{ '<|START_OF_TURN|><|SYSTEM|>' + system_message }}
{%- if tools %}
{{ '\\n\\n## Functions\\n' }}{% for tool in tools %}{% set tool = tool.function %}
```python
def {{ tool.name }}({% for name, fields in tool.parameters.properties.items() %}{% set param_type = json_to_python_type(fields) %}{{ name }}: {% if name not in tool.parameters.required %}Optional[{{ param_type }}] = None{% else %}{{ param_type }}{% endif %}{% if not loop.last %}, {% endif %}{% endfor %}) -> List[Dict]:
    \\"\\"\\"{{ tool.description }}

    Args:
{% for name, fields in tool.parameters.properties | dictsort %}
        {{ name }} ({{ json_to_python_type(fields) }}): {{ fields.description|default('no description', true) }}
{% endfor %}
    \\"\\"\\"
```
{% endfor %}{% endif %}{{ '<|END_OF_TURN|>' }}{% for message in loop_messages %}{% set content = message['content'] %}{% if message['role'] == 'user' %}{{ '<|USER|>' + content.strip() + '<|END_OF_TURN|>' }}{% elif message['role'] == 'assistant' and content is defined %}{{ '<|CHATBOT|>' + content.strip() + '<|END_OF_TURN|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|CHATBOT|>' }}{% endif %}"""
T["granite"] = """{%- if messages[0]['role'] == 'system' %}
     {%- set system_message = messages[0]['content'] %}
     {%- set loop_messages = messages[1:] %}
{%- else %}
     {%- set system_message = "Knowledge: April 2024.\\nToday: " + strftime_now('%B %d, %Y') + ".\\nYou are Stone." %}
     {%- if tools and documents %}
         {%- set system_message = system_message + " Tools and documents." %}
     {%- elif tools %}
         {%- set system_message = system_message + " Tools only. " ~ tools|map(attribute='function.name')|join(', ') %}
     {%- elif documents %}
         {%- set system_message = system_message + " Documents." %}
     {%- endif %}
     {%- if controls is defined and controls and 'length' in controls %}
         {%- set system_message = system_message + " Length: " + controls['length'] %}
     {%- endif %}
     {%- set loop_messages = messages %}
{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>
' }}
{%- if tools %}
    {{- '<|start_of_role|>tools<|end_of_role|>' }}
    {{- tools | tojson(indent=4) }}
    {{- '<|end_of_text|>
' }}
{%- endif %}
{%- for message in loop_messages %}
    {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content']|string + '<|end_of_text|>
' }}
    {%- if loop.last and add_generation_prompt %}
        {{- '<|start_of_role|>assistant' }}
            {%- if controls %}
                {{- ' ' + controls | tojson()}}
            {%- endif %}
        {{- '<|end_of_role|>' }}
    {%- endif %}
{%- endfor %}"""
T["smollm"] = """{# ───── defaults ───── #}
{%- if enable_thinking is not defined -%}
{%- set enable_thinking = true -%}
{%- endif -%}
{%- if messages[0].role == "system" -%}
  {%- set system_message = messages[0].content -%}
  {%- if "/no_think" in system_message -%}
    {%- set reasoning_mode = "/no_think" -%}
  {%- else -%}
    {%- set reasoning_mode = "/think" if enable_thinking else "/no_think" -%}
  {%- endif -%}
  {%- set custom_instructions = system_message.replace("/no_think", "").replace("/think", "").rstrip() -%}
{%- else -%}
  {%- set reasoning_mode = "/think" if enable_thinking else "/no_think" -%}
{%- endif -%}
{{- "<|im_start|>system\\n" -}}
{{- "## Metadata\\n\\nToday Date: " ~ strftime_now("%d %B %Y") ~ "\\nReasoning Mode: " + reasoning_mode + "\\n\\n" -}}
{%- if custom_instructions -%}
  {{- "## Custom\\n\\n" + custom_instructions + "\\n\\n" -}}
{%- endif -%}
{%- if xml_tools or python_tools or tools -%}
  {%- set ns = namespace(xml_tool_string="Functions:\\n<tools>\\n") -%}
  {%- for tool in tools[:10] -%}
    {%- set ns.xml_tool_string = ns.xml_tool_string ~ (tool | string) ~ "\\n" -%}
  {%- endfor -%}
  {{- ns.xml_tool_string + "</tools>" -}}
{%- endif -%}
{{- "<|im_end|>\\n" -}}
{%- for message in messages -%}
  {%- set content = message.content if message.content is string else "" -%}
  {%- if message.role == "user" -%}
    {{ "<|im_start|>" + message.role + "\\n" + content + "<|im_end|>\\n" }}
  {%- elif message.role == "assistant" -%}
    {%- generation -%}
    {%- if reasoning_mode == "/think" -%}
      {{ "<|im_start|>assistant\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}
    {%- else -%}
      {{ "<|im_start|>assistant\\n" + "<think>\\n\\n</think>\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}
    {%- endif -%}
    {%- endgeneration -%}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {%- if reasoning_mode == "/think" -%}
    {{ "<|im_start|>assistant\\n" }}
  {%- else -%}
    {{ "<|im_start|>assistant\\n" + "<think>\\n\\n</think>\\n" }}
  {%- endif -%}
{%- endif -%}"""
T["vicuna"] = """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'].strip() %}{% else %}{% set loop_messages = messages %}{% set system_message = '' %}{% endif %}{{ system_message }}{% for message in loop_messages %}{{ '\\n' if not loop.first or system_message else '' }}{{ message['role'].upper() + ': ' + message['content'].strip() + (eos_token if message['role'] == 'assistant' else '') }}{% endfor %}{{ '\\nASSISTANT:' if add_generation_prompt }}"""
T["alpaca"] = """{{ (messages|selectattr('role', 'equalto', 'system')|list|last).content|trim if (messages|selectattr('role', 'equalto', 'system')|list) else '' }}

{% for message in messages %}
{% if message['role'] == 'user' %}
### Instruction:
{{ message['content']|trim -}}
{% if not loop.last %}


{% endif %}
{% elif message['role'] == 'assistant' %}
### Response:
{{ message['content']|trim -}}
{% if not loop.last %}


{% endif %}
{% elif message['role'] == 'user_context' %}
### Input:
{{ message['content']|trim -}}
{% endif %}
{% endfor %}
{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}
### Response:
{% endif %}"""
T["falcon"] = """{% for message in messages %}{% if not loop.first %}{{ '\\n' }}{% endif %}{{ message.role | capitalize + ': ' + (message.content | replace('\\r\\n', '\\n') | replace('\\n\\n', '\\n')) }}{% endfor %}{% if add_generation_prompt %}{{ '\\n' + 'Assistant:' }}{% endif %}"""
T["hermes_tools"] = """{%- macro render(spec, depth=0) -%}
{%- if spec is mapping -%}
{%- for k, v in spec|items -%}{{ '  ' * depth }}{{ k }}: {{ '\\n' if v is mapping }}{{ render(v, depth + 1) }}{%- endfor -%}
{%- elif spec is sequence and spec is not string -%}[{{ spec|join('|') }}]
{% else -%}{{ spec }}
{% endif -%}
{%- endmacro -%}
{%- if tools -%}<|im_start|>system
{% for tool in tools -%}{{ render(tool.function) }}{% endfor %}<|im_end|>
{% endif -%}
{%- for m in messages -%}
{%- if m.role == 'tool' and loop.previtem is defined and loop.previtem.role != 'tool' -%}<|im_start|>tool
{% endif -%}
{%- if m.role == 'tool' -%}<r>{{ m.content|tojson }}</r>{%- if loop.last or loop.nextitem.role != 'tool' %}<|im_end|>
{% endif -%}
{%- else -%}<|im_start|>{{ m.role }}
{{ m.content|d('', true) }}{% for c in m.tool_calls|default([]) %}<c n={{ loop.index }}/{{ loop.length }}>{{ c.function|tojson(sort_keys=true, separators=(',', ':')) }}</c>{% endfor %}<|im_end|>
{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}"""
T["gpt_oss"] = """{%- macro render_typescript_type(param_spec, required_params, is_nullable=false) -%}
    {%- if param_spec.type == "array" -%}
        {%- if param_spec['items'] -%}
            {%- if param_spec['items']['type'] == "string" -%}
                {{- "string[]" }}
            {%- else -%}
                {%- set inner_type = render_typescript_type(param_spec['items'], required_params) -%}
                {{- inner_type + "[]" }}
            {%- endif -%}
            {%- if is_nullable -%}
                {{- " | null" -}}
            {%- endif -%}
        {%- else -%}
            {{- "any[]" }}
        {%- endif -%}
    {%- elif param_spec.type is defined and param_spec.type is iterable and param_spec.type is not string and param_spec.type is not mapping and param_spec.type[0] is defined -%}
        {{- param_spec.type | join(" | ") }}
    {%- elif param_spec.type == "string" -%}
        {%- if param_spec.enum -%}
            {{- '"' + param_spec.enum|join('" | "') + '"' -}}
        {%- else -%}
            {{- "string" }}
        {%- endif -%}
    {%- elif param_spec.type in ["number", "integer"] -%}
        {{- "number" }}
    {%- elif param_spec.type == "object" -%}
        {%- if param_spec.properties -%}
            {{- "{\\n" }}
            {%- for prop_name, prop_spec in param_spec.properties.items() -%}
                {{- prop_name -}}
                {%- if prop_name not in (param_spec.required or []) -%}
                    {{- "?" }}
                {%- endif -%}
                {{- ": " }}
                {{ render_typescript_type(prop_spec, param_spec.required or []) }}
                {%- if not loop.last -%}
                    {{-", " }}
                {%- endif -%}
            {%- endfor -%}
            {{- "}" }}
        {%- else -%}
            {{- "object" }}
        {%- endif -%}
    {%- else -%}
        {{- "any" }}
    {%- endif -%}
{%- endmacro -%}
<|start|>system<|message|>Current date: {{ strftime_now("%Y-%m-%d") }}
{% if tools %}# Tools

namespace functions {

{% for tool in tools -%}
{%- set tool = tool.function -%}
// {{ tool.description }}
type {{ tool.name }} = (_: {
{% for param_name, param_spec in tool.parameters.properties.items() %}
{%- if param_spec.description %}// {{ param_spec.description }}
{% endif -%}
{{ param_name }}{{ "?" if param_name not in (tool.parameters.required or []) }}: {{ render_typescript_type(param_spec, tool.parameters.required or []) }},
{% endfor -%}
}) => any;

{% endfor -%}
} // namespace functions
{% endif %}<|end|>
{%- set last = namespace(name=none) %}
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
{%- if "tool_calls" in message -%}
{%- set last.name = message.tool_calls[0].function.name -%}
{%- if message.thinking and not message.content %}{{ "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}{% endif -%}
{{ "<|start|>assistant to=functions." + last.name + "<|message|>" + message.tool_calls[0].function.arguments|tojson + "<|call|>" }}
{%- else -%}{{ "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|return|>" }}
{%- endif -%}
{%- elif message.role == 'tool' -%}
{%- if last.name is none -%}{{ raise_exception("A result without a call!") }}{%- endif -%}
{{ "<|start|>functions." + last.name }}{{ " to=assistant<|message|>" + message.content|tojson + "<|end|>" }}
{%- else -%}{{ "<|start|>" ~ message.role ~ "<|message|>" ~ message.content ~ "<|end|>" }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|start|>assistant
{%- endif -%}"""
T["call_block"] = """{%- macro turn(role) -%}
<{{ role }}>{{ caller(role|upper) }}</{{ role }}>
{%- endmacro -%}
{%- for m in messages if m.content is string %}
{% call(name) turn(m.role) %}{{ name }}: {% filter trim|replace('a', 'A') %}  {{ m.content }}  {% endfilter %}{% endcall %}
{% else %}
nothing
{% endfor %}
{% set text %}{{ messages|length }} turns{% endset %}
{{ text|title|indent(2, first=true) }}
{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}{% if loop.index > 3 %}{% break %}{% endif %}{{ loop.cycle('a', 'b') }}{{ loop.revindex }}{% endfor %}"""
T["olmo"] = """{{ eos_token }}{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
T["yi_jais"] = """{% set sys = messages | selectattr('role', 'eq', 'system') | map(attribute='content') | list %}
{{- sys[0] if sys else 'none' }}|{{ messages | rejectattr('role', 'in', ['system', 'tool']) | map(attribute='role') | map('upper') | unique | join(',') }}
{%- for role, items in messages | groupby('role') %} {{ role }}={{ items | length }}{% endfor %}
{%- with total = messages | map(attribute='content') | select('string') | map('length') | sum %} {{ total }}{% endwith %}"""

WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Weather of a place, °C & \"wind\" <now>.", "parameters": {
    "type": "object", "properties": {"place": {"type": "string", "description": "City, e.g. Zürich"}, "unit": {"type": "string", "enum": ["c", "f"]},
                                     "days": {"type": "integer"}}, "required": ["place"]}}}
SUM = {"type": "function", "function": {"name": "add", "description": "Adds numbers.", "parameters": {
    "type": "object", "properties": {"numbers": {"type": "array", "items": {"type": "number"}, "description": "What to add."},
                                     "exact": {"type": ["boolean", "null"]}}, "required": ["numbers"]}, "return": {"type": "number"}}}


def call(name, arguments, id="abcdefgh1"):
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "id": id, "function": {"name": name, "arguments": arguments}}]}


U = lambda text, **more: {"role": "user", "content": text, **more}
A = lambda text, **more: {"role": "assistant", "content": text, **more}
S = lambda text, **more: {"role": "system", "content": text, **more}
C = {
    "one": {"messages": [U("Hello there!")]},
    "one_prompt": {"messages": [U("Hello there!")], "prompt": True},
    "system": {"messages": [S("  You are terse.\n"), U("Why is the sky blue?")], "prompt": True},
    "turns": {"messages": [U(" a b "), A("\n fine \n"), U("and\r\n\r\nthen?"), A("<think>\nhm\n</think>\n\nOK."), U("Bye")], "prompt": True},
    "system_turns": {"messages": [S("Be kind. /no_think"), U("1"), A("2"), U("3"), A("4")]},
    "unicode": {"messages": [S("Grüße 👋🏽 – “x”"), U("今天天气 \u2028 e\u0301 é \U0001f469\u200d\U0001f469"), A("\u00a0ok\u3000"), U("\x0b\x1c ŉ ǆ İ ß")], "prompt": True},
    "wrong_order": {"messages": [A("I begin"), U("No")]},
    "unknown_role": {"messages": [U("x"), {"role": "critic", "content": "y"}]},
    "no_role": {"messages": [{"content": "x"}]},
    "no_content": {"messages": [{"role": "user"}, A("y")]},
    "null_content": {"messages": [{"role": "user", "content": None}, A("y")]},
    "parts": {"messages": [S([{"type": "text", "text": "Sys"}]), U([{"type": "image"}, {"type": "text", "text": " What is it? "}])], "prompt": True},
    "tools": {"messages": [S("Use tools."), U("Weather in Zürich?")], "tools": [WEATHER, SUM], "prompt": True},
    "tool_calls": {"messages": [U("Weather?"), call("get_weather", {"place": "Zürich", "days": 2, "deep": {"a": [1, 2.5, None, True, "é\n\"q\""]}}),
                                {"role": "tool", "content": "21.5 °C", "tool_call_id": "abcdefgh1", "name": "get_weather"}], "tools": [WEATHER], "prompt": True},
    "two_results": {"messages": [U("Both"), call("add", "{\"numbers\": [1]}"), {"role": "tool", "content": {"content": 3, "ok": True}, "tool_call_id": "x"},
                                 {"role": "tool", "content": [1, "b"], "tool_call_id": "y"}, A("Done.")], "tools": [SUM]},
    "short_id": {"messages": [U("q"), call("add", {}, id="1")], "tools": [SUM]},
    "thinking": {"messages": [U("q"), A("a", reasoning_content="because"), U("r"), A("b", thinking="\nso\n")], "context": {"enable_thinking": False}},
    "no_thinking": {"messages": [S("x"), U("q")], "context": {"enable_thinking": False, "controls": {"length": "short"}}, "prompt": True},
    "context": {"messages": [U("q")], "tools": [WEATHER], "context": {"tools_in_user_message": False, "date_string": "1 May 1901", "bos_token": "<BOS>"}, "prompt": True},
}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

SNIPPETS = [
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 1.5 + 1 }} {{ 3 * 'ab' }} {{ [1] * 2 }} {{ 1e16 }} {{ 1e-5 }} {{ 2.0 }} {{ -2 ** 2 }}",
    "{{ 'abc'[1] }}{{ 'abc'[-1] }}{{ 'abc'[::-1] }}{{ 'abcdef'[1:5:2] }}{{ [1,2,3][-2:] }}{{ 'abc'[5:] }}|{{ 'abc'[7] }}|{{ (1,2)[0] }}{{ (1,) }}",
    "{{ [1, 'a', \"it's\", '\"', none, true, 2.5, {'k': 'é\\n'}] }} {{ {} }} {{ () }} {{ {'a': 1}.items()|list }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ [1,2] == [1,2] }} {{ 1 == 1.0 }} {{ true == 1 }} {{ none == false }} {{ 'a' in 'cat' }} {{ 'k' in {'k': 1} }} {{ 3 not in [1,2] }}",
    "{{ x is defined }} {{ x is none }} {{ none is none }} {{ 1 is number }} {{ true is number }} {{ 'a' is string }} {{ [] is sequence }} {{ {} is mapping }} {{ 4 is divisibleby 2 }} {{ 3 is odd }} {{ 1 is integer }} {{ 1.0 is float }} {{ true is boolean }} {{ true is true }} {{ x is undefined }} {{ 'AB' is upper }} {{ 3 is in [3] }} {{ range is callable }} {{ not x }}",
    "{{ x }}|{{ x|default('d') }}|{{ ''|default('d') }}|{{ ''|default('d', true) }}|{{ x or 'y' }}|{{ 'p' and 'q' }}|{{ x|length }}|{{ x|list }}|{% for i in x %}{% else %}empty{% endfor %}",
    "{{ x.y.z }}", "{{ x() }}", "{{ 'a' + 1 }}", "{{ 1 + x }}", "{{ [] | first }}|{{ 1 / 0 }}", "{{ none.a }}|{{ 5.b }}", "{{ none | tojson }}{{ x | tojson }}", "{{ [].append(1) }}", "{% for i in 5 %}{% endfor %}",
    "{{ ['b', 'A', 'c']|sort|join }} {{ [3,1,2]|sort(reverse=true) }} {{ ['b','B','a']|unique|list }} {{ [1,2,3]|sum }} {{ [1,2,3]|max }} {{ ['x','Y']|min }} {{ {'b': 1, 'a': 2}|dictsort }} {{ [1,2,3,4,5]|batch(2)|list }} {{ [1,2]|reverse|list }} {{ 'ab'|reverse }} {{ 'hello world'|title }} {{ 'x'|list }}",
    "{{ 'a-b_c d'.title() }} {{ 'hELLO'.capitalize() }} {{ ' x '.strip() }}|{{ 'xxaxx'.strip('x') }} {{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.split(' ', 1) }} {{ 'a b c'.rsplit(' ', 1) }} {{ 'a\\nb\\r\\nc'.splitlines() }} {{ 'abc'.find('c') }} {{ 'abcabc'.rfind('b') }} {{ 'aXbX'.replace('X', '-', 1) }} {{ 'abc'.startswith(('x', 'a')) }} {{ '-'.join(['a', 'b']) }} {{ 'aaa'.count('a') }} {{ '7'.zfill(3) }} {{ '12'.isdigit() }} {{ 'é'.isalpha() }} {{ 'a-b-c'.partition('-') }} {{ '{} {1} {n}'.format(1, 2, n=3) if false else '' }}{{ 'abc'.removeprefix('a') }}",
    "{{ '5'|int + 1 }} {{ 'x'|int }} {{ '3.9'|int }} {{ 'x'|int(7) }} {{ '2.5'|float }} {{ 3.7|int }} {{ 2.567|round(2) }} {{ 2.5|round }} {{ 3|round }} {{ -3|abs }} {{ '%s is %d'|format('a', 3) }} {{ '%.2f' % 3.14159 }} {{ '<a&b>'|e }} {{ 'a b'|wordcount }} {{ 42|string + '!' }} {{ 'abc'|upper|lower }}",
    "{{ {'a': [1, {'b': none}], 'é': '</x>&\\'\"\\u2028\\x01'}|tojson }} {{ {'b': 1, 'a': [], 'c': {}}|tojson(indent=2) }} {{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }} {{ 'é😀'|tojson(ensure_ascii=true) }} {{ [1.0, 1e20, 0.1, true]|tojson(separators=(',', ':')) }} {{ {1: 2}|tojson }}",
    "  {% if true %}  \n  a\n  {% endif %}\n  b\n{%- if true -%}  \n c {%- endif %}\n{%+ if true %} d{% endif +%}\n e\n{# comment #}\n  f {# x -#}   g\n   {#- y #}\nh{{ 1 }}\n",
    "{% raw %}{{ x }} {% if %}{% endraw %}\n|{%- raw -%}  a  {%- endraw -%}  b",
    "{% set a = 1 %}{% for i in [1, 2] %}{% set a = i %}{{ a }}{% endfor %}{{ a }}{% if true %}{% set a = 9 %}{% endif %}{{ a }}{% set ns = namespace(n=0) %}{% for i in range(4) if i is odd %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}{% set p, q = 1, [2] %}{{ p }}{{ q }}{% set z %}  t {% endset %}[{{ z }}]{% set w | upper | trim %} u {% endset %}[{{ w }}]",
    "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }} {{ m(1, c=3) }} {{ m(1, 2, 3, 4, z=5) }} {{ m() }} {{ m.name }}",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ loop.index }}{{ k }}{{ v }}{{ ',' if not loop.last }}{% endfor %} {% for i in range(3) %}{% for j in range(2) %}{{ loop.depth }}{{ loop.index0 }}{% endfor %}{% endfor %} {% for c in 'aab' %}{{ loop.changed(c) }}{% endfor %} {{ range(5, 0, -2)|list }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1] }} {{ 'yes' if 1 else 'no' }} {{ 'x' if false }}| {{ (1 if true else 2) + 1 }} {{ not true or true }} {{ -1 + -2 }} {{ +3 }} {{ 1 in [1] and 2 }} {{ {'a': {'b': [10, 20]}}.a.b[1] }} {{ {'a': 1}['a'] }} {{ {'items': 5}['items'] }} {{ {'x': 1}.get('y', 'z') }} {{ {'x': 1}.get('y') }} {{ 'a' 'b' }}",
    "{{ [{'n': 'a', 'v': {'w': 1}}, {'n': 'b', 'v': {'w': 2}}]|map(attribute='v.w')|list }} {{ [{'n': 'a'}, {}]|map(attribute='n', default='-')|join }} {{ [1,2,3,4]|select('even')|list }} {{ [1,2,3]|reject('gt', 2)|list }} {{ [0, 1, '', 'a']|select|list }} {{ [{'a': 1}, {'a': 0}, {}]|selectattr('a')|list }} {{ [{'a': 1}, {}]|selectattr('a', 'defined')|list }} {{ [[1, 2], [3]]|sum(start=[]) }} {{ ['a', 'b']|map('upper')|join(', ') }}",
    "{{ 'line one\\nline two\\n\\nend'|indent }}|{{ 'a\\nb'|indent(2, true) }}|{{ 'a\\n\\nb'|indent('> ', blank=true) }}",
    "{{ raise_exception('no: ' ~ 3) }}", "{% if x %}", "{{ 'a }}", "{% unknown %}", "{{ 1 2 }}", "{% for x in %}{% endfor %}", "{{ x|nofilter }}", "{{ 1 is notest }}", "{% set a.b = 1 %}", "{{ (1 }}", "{% endif %}", "{{ }}",
    "{{ strftime_now('%Y/%m/%d %A %j') }} {{ namespace(a=1).a }} {{ dict(a=1, b='c') }} {{ dict([('k', 'v')]) }} {{ [1, 2] is iterable }} {{ 'x' is filter }} {{ 'upper' is filter }} {{ 1 is eq 1 }} {{ 1 is ne(2) }}",
    "{{ messages[0].__class__ }}|{{ ''.__len__ }}|{{ messages.x }}|{{ messages|attr('y') }}|{{ messages[0]['content']|trim|first }}{{ messages[-1].content[-1] }}",
    "a\r\nb\rc\n", "\n", "{{ 'q' }}\n\n", "{% if 1 %}\n\nx\n{% endif %}\n\n", "\t{% if 1 %}x{% endif %}\t\n\t {{ 1 }}",
    "{% for m in messages %}{{ loop.first }}{{ loop.last }}{{ loop.previtem.role if loop.previtem is defined }}{{ loop.length }}{% else %}none{% endfor %}{{ loop is defined }}",
    "{{ ['a', ['b', ('c',)], {'d': \"x'y\\\"z\\\\ \\t\\x7f\\u00a0\\u200b é\"}]|string }} {{ 'ŉ ß ǆ'|upper }} {{ 'İI'|lower }} {{ 'ÀÉ'.lower() }}",
]


def render(template, conversation, tools=None, context=None, prompt=False):
    messages = [{k: v for k, v in message.items() if v is not None} for message in conversation]
    try:
        rendered, _ = utils.render_jinja_template([messages], tools=tools, chat_template=template, add_generation_prompt=prompt,
                                                  **{**TOKENS, **(context or {})})
        return rendered[0]
    except Exception:
        return None


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    cases = []
    for name, template in T.items():
        for which, conversation in C.items():
            text = render(template, conversation["messages"], conversation.get("tools"), conversation.get("context"),
                          conversation.get("prompt", False))
            cases.append([name, which, text])
    snippets = [[snippet, render(snippet, C["turns"]["messages"])] for snippet in SNIPPETS]
    golden = {"tokens": TOKENS, "templates": T, "conversations": C, "cases": cases, "snippets": snippets}
    (OUT / "golden.json").write_text(json.dumps(golden, ensure_ascii=True))
    print(len(T), "templates", len(cases), "cases", sum(c[2] is None for c in cases), "raise;", len(snippets), "snippets",
          [s for s, text in snippets if text is None])


main()
