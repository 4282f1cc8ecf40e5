/** The user-creatable objects: {@code object-add}, {@code object-del} and {@code --object}. */
package io.blockwharf.core.object;
