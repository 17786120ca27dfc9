#ifndef SORTED_JSON_H
#define SORTED_JSON_H

#include "json_scan.h"

/* Write a JSON value, which is known to be valid and without numbers, with the members of its objects in the order of
 * their names: what two texts have in common that say the same. False where it is not done here. */
bool sort_json(struct scan *scan);

#endif
