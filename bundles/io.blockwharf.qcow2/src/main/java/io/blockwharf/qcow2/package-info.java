/**
 * The qcow2 image format: docs/interop/qcow2 of QEMU is the specification, block/qcow2*.c the
 * reference for options, texts and what is left open there.
 *
 * <pre>
 *   Qcow2Driver ─► Qcow2Image (requests) ─► Mapping (L1, L2) ──► Refcounts (allocation)
 *                       │                        └── Commit (order of metadata writes) ──┘
 *                       └► Compression, Snapshots, StoredBitmaps, Header ─► ImageFile
 * </pre>
 */
package io.blockwharf.qcow2;
