/* What a write with expressions makes of an item. */
#include "written_item.h"

#include "big_endian.h"
#include "forms.h"
#include "plain_item.h"

/* What is read from stored bytes is copied as it is read. */
static bool read_copy(const struct span *text, struct arena *arena, struct scan *scan) {
    uint8_t *room = arena_room(arena, text->bytes + 8); /* a text is read where six bytes more are left */
    if (room == NULL) return false;
    *scan = (struct scan){text->at, text->at + text->bytes, room, room + text->bytes + 8, 0};
    return true;
}

static bool read_members_of(const struct span *value, struct arena *arena, struct member *members, size_t *count) {
    struct scan scan;
    struct span text = {value->at + VALUE_HEAD_BYTES, value->bytes - VALUE_HEAD_BYTES};
    if (!read_copy(&text, arena, &scan) || !read_item(&scan, members, count)) return false;
    arena_keep(arena, scan.out);
    return true;
}

static bool read_arguments(const struct span *text, size_t count, struct arena *arena, struct member *arguments) {
    struct scan scan;
    if (count > ARGUMENTS_MAX || !read_copy(text, arena, &scan)) return false;
    for (size_t number = 0; number < count; number++)
        if (!read_value(&scan, &arguments[number], 1)) return false;
    arena_keep(arena, scan.out);
    return true;
}

/* The most bytes that an update's item can have as text: each action writes a value of the item's, or one given. */
static size_t text_bytes_max(const struct parts *form, const struct span *base, const struct span *arguments) {
    size_t each = base->bytes > arguments->bytes ? base->bytes : arguments->bytes;
    return base->bytes + form->update_code.bytes + ACTIONS_MAX * 48 + form->head.written * each + 64;
}

static enum becomes updated(const struct parts *form, const struct given *given, const struct span *base, bool is_new,
                            const struct asked_write *write, struct arena *arena, struct span *value) {
    struct member changed[ATTRIBUTES_MAX];
    size_t count, bytes = VALUE_HEAD_BYTES + text_bytes_max(form, base, &write->arguments);
    uint64_t expires_at;
    uint8_t *room = arena_room(arena, bytes);
    if (room == NULL) return LEFT;
    struct scan scan = {NULL, NULL, room + VALUE_HEAD_BYTES, room + bytes, 0};
    size_t old_size = is_new ? 0 : load_big_endian(base->at, 4);
    if (!update(form, given, is_new, old_size, &scan, changed, &count)) return LEFT;
    const struct member *expiry = write->expiry.bytes == 0 ? NULL : named(changed, count, &write->expiry);
    if (!expiry_of(expiry, &expires_at)) return LEFT;
    store_big_endian(room, scan.size, 4);
    store_big_endian(room + 4, expires_at, 8);
    *value = (struct span){room, (size_t)(scan.out - room)};
    arena_keep(arena, scan.out);
    return NEW_VALUE;
}

enum becomes become(const struct asked_write *write, const struct span *old, struct arena *arena, struct span *value) {
    struct member members[ATTRIBUTES_MAX], arguments[ARGUMENTS_MAX];
    struct parts form;
    size_t count = 0;
    bool is_new = old->at == NULL;
    form_at(write->form, &form);
    if (!read_arguments(&write->arguments, form.head.values, arena, arguments)) return LEFT;
    if (!is_new && !read_members_of(old, arena, members, &count)) return LEFT;
    struct given given = {members, count, arguments};
    if (meets(&form, &given) != YES) return LEFT;
    *value = write->value;
    if (write->kind == PUT) return NEW_VALUE;
    if (write->kind == CHECK || (is_new && !form.head.creates)) return AS_IT_WAS;
    if (is_new && !read_members_of(&write->value, arena, members, &given.count)) return LEFT;
    return updated(&form, &given, is_new ? &write->value : old, is_new, write, arena, value);
}
