/* hello: the shortest whole program in C.  hello MODEL "Once upon a time" */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pagelm.h"

static int fail(const char *why)
{
    fprintf(stderr, "hello: %s\n", why);
    return 1;
}

int main(int argc, char **argv)
{
    pagelm_error error = { .struct_size = sizeof error };
    pagelm_model_info info = { .struct_size = sizeof info };
    pagelm_model *model;
    pagelm_session *session;
    size_t session_size;
    FILE *f = argc == 3 ? fopen(argv[1], "rb") : NULL;
    if (f == NULL)
        return fail("usage: hello MODEL PROMPT");
    fseek(f, 0, SEEK_END);
    size_t size = (size_t)ftell(f);
    uint8_t *file = malloc(size);
    rewind(f);
    if (file == NULL || fread(file, 1, size, f) != size)
        return fail("cannot read the model");
    fclose(f);

    /* What it is and what it needs; then the model, then a session. */
    if (pagelm_model_probe(file, size, &info, &error) != PAGELM_OK)
        return fail(error.code < 0 ? error.text : "the file is cut short");
    void *mem = malloc(info.model_mem_size);
    if (pagelm_model_init(mem, info.model_mem_size, file, size, size, &model, &error) != PAGELM_OK)
        return fail(error.text);
    if (pagelm_session_mem_size(model, NULL, &session_size) != PAGELM_OK)
        return fail("no size");
    void *session_mem = malloc(session_size);
    if (pagelm_session_init(session_mem, session_size, model, NULL, &session, &error) != PAGELM_OK)
        return fail(error.text);

    /* A prompt in, and 50 tokens out, the likeliest each time. */
    int32_t status = pagelm_session_feed_text(session, (const uint8_t *)argv[2], strlen(argv[2]), 0);
    for (int i = 0; i < 50 && status >= 0 && status != PAGELM_FINISHED; i++) {
        const uint8_t *text;
        size_t len;
        status = pagelm_session_run(session, 0);
        if (status >= 0 && pagelm_session_text(session, &text, &len) == PAGELM_OK)
            fwrite(text, 1, len, stdout);
    }
    if (status < 0)
        return fail(pagelm_status_text(status));
    putchar('\n');
    free(session_mem);
    free(mem);
    free(file);
    return 0;
}
