/**
 * Export types and the life of an export.
 *
 * <pre>
 *                 open                 requestShutdown              closed, permissions given back
 *   (nothing) ──────────► RUNNING ──────────────► SHUTTING_DOWN ──────────────► DELETED
 *                 throws: nothing                                  event BLOCK_EXPORT_DELETED, id free
 * </pre>
 *
 * Core's registry owns ids, order, states and the event; a {@link
 * io.blockwharf.api.export.BlockExportDriver} service owns what happens between {@code open} and
 * {@code closed}. When the service goes (its bundle is stopped, updated or uninstalled, or its
 * CONFIG_* condition is withdrawn) the registry shuts its exports down before it lets go.
 */
@Export
@Version("1.0.0")
package io.blockwharf.api.export;

import org.osgi.annotation.bundle.Export;
import org.osgi.annotation.versioning.Version;
