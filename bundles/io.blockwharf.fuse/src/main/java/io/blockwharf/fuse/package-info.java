/**
 * The {@code fuse} export driver: a block node as a regular file, mounted on a regular file.
 *
 * <pre>
 *   FuseExportDriver ──► FuseExport (life) ──► FuseMount (mount, device)
 *                              │
 *                              ├─► DeviceQueue, RingQueue (threads, buffers) ──► FuseFile (requests on the node)
 *                              └─► Passthrough (the kernel on the image itself)
 * </pre>
 */
package io.blockwharf.fuse;
