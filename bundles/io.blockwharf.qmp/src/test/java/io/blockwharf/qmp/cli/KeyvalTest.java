package io.blockwharf.qmp.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.qmp.QmpException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Rows were tried on qemu-storage-daemon 7.2; util/keyval.c has the grammar. */
class KeyvalTest {
    @ParameterizedTest(name = "[{index}] {0}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
                    ``                       | {}
                    nbd                      | {type=nbd}
                    nbd,id=a                 | {type=nbd, id=a}
                    type=nbd,id=a            | {type=nbd, id=a}
                    id=a                     | {id=a}
                    nbd,                     | {type=nbd}
                    nbd,id=                  | {type=nbd, id=}
                    nbd,id=x,,y,name=z       | {type=nbd, id=x,y, name=z}
                    nbd,id=a=b               | {type=nbd, id=a=b}
                    nbd,id=a,id=b            | {type=nbd, id=b}
                    nbd,a.b=1,a.c=2          | {type=nbd, a={b=1, c=2}}
                    nbd,a.b.c=1,d=2          | {type=nbd, a={b={c=1}}, d=2}
                    nbd,l.0=x,l.1=y          | {type=nbd, l={0=x, 1=y}}
                    nbd,l.00=x,l.01=y        | {type=nbd, l={0=x, 1=y}}
                    nbd,l.0.a=x              | {type=nbd, l={0={a=x}}}
                    nbd,a-b=1,c_d=2          | {type=nbd, a-b=1, c_d=2}
                    nbd,id=help              | {type=nbd, id=help}
                    help=on                  | {help=on}
                    nbd,__com.example_x.y=1  | {type=nbd, __com.example_x={y=1}}
                    """)
    void members(String text, String expected) {
        Keyval.Parsed parsed = Keyval.parse(text == null ? "" : text, "type");
        assertEquals(expected, parsed.members().toString());
        assertEquals(false, parsed.help());
    }

    @ParameterizedTest(name = "[{index}] {0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    nbd,id           | Expected '=' after parameter 'id'
                    id=e0,nbd        | Expected '=' after parameter 'nbd'
                    nbd,,id=x        | Invalid parameter ''
                    ,id=3            | Invalid parameter ''
                    nbd,=x           | Invalid parameter ''
                    nbd,.a=3         | Invalid parameter '.a'
                    nbd,a..b=3       | Invalid parameter 'a..b'
                    nbd,a.=3         | Invalid parameter 'a.'
                    nbd,1a=3         | Invalid parameter '1a'
                    nbd,1=3          | Invalid parameter '1'
                    nbd,a/b=3        | Invalid parameter 'a/b'
                    nbd,a b=3        | Invalid parameter 'a b'
                    nbd,_a=3         | Invalid parameter '_a'
                    nbd,a.b=1,a=2    | Parameters 'a.*' used inconsistently
                    nbd,a=1,a.b=2    | Parameters 'a.*' used inconsistently
                    nbd,a.b=1,a.b.c=2| Parameters 'a.b.*' used inconsistently
                    """)
    void errors(String text, String expected) {
        var error = assertThrows(QmpException.class, () -> Keyval.parse(text, "type"));
        assertEquals(expected, error.getMessage());
    }

    @ParameterizedTest
    @CsvSource({"help", "?", "'nbd,help'", "'nbd,?'", "'nbd,help,id=x'"})
    void help(String text) {
        assertTrue(Keyval.parse(text, "type").help());
    }

    @Test
    void withoutAnImpliedKeyTheFirstWordNeedsOne() {
        var error = assertThrows(QmpException.class, () -> Keyval.parse("x", ""));
        assertEquals("Expected '=' after parameter 'x'", error.getMessage());
    }

    @Test
    void fragmentsHave127CharactersAtMost() {
        String longest = "a".repeat(127);
        assertEquals(1, Keyval.parse(longest + "=1", "type").members().size());
        var error = assertThrows(QmpException.class, () -> Keyval.parse(longest + "a=1", "type"));
        assertEquals("Parameter '" + longest + "a' is too long", error.getMessage());
    }
}
