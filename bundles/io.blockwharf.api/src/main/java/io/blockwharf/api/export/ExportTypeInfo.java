package io.blockwharf.api.export;

/**
 * Whether an export type can be used now.
 *
 * @param type the type
 * @param available whether {@code block-export-add} knows it
 * @param reason why, in words, for example {@code CONFIG_FUSE=auto, but /dev/fuse: No such file or
 *     directory}
 */
public record ExportTypeInfo(String type, boolean available, String reason) {}
