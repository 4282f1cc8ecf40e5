/** Export registry, node table, object store, QMP dispatcher and the CONFIG_* conditions. */
package io.blockwharf.core;
